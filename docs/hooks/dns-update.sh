#!/bin/sh
# Points a name in DNS to a cluster's new master, by a dynamic update (RFC 2136).
#
#   dns-update.sh -z ZONE -s SERVER -k KEYFILE [-t TTL] NAME HOST
#
# NAME.ZONE becomes an A, AAAA or CNAME record for HOST, whichever fits, and loses
# those that it had, all in one update. Running it again changes nothing.
set -eu

fail() {
	echo "dns-update: $*" >&2
	exit 1
}

zone='' server='' key='' ttl=10
while getopts z:s:k:t: option; do
	case $option in
	z) zone=${OPTARG%.} ;;
	s) server=$OPTARG ;;
	k) key=$OPTARG ;;
	t) ttl=$OPTARG ;;
	*) fail "usage: dns-update.sh -z ZONE -s SERVER -k KEYFILE [-t TTL] NAME HOST" ;;
	esac
done
shift $((OPTIND - 1))
[ $# -eq 2 ] || fail "want NAME and HOST, there are $# arguments"
name=$1 host=$2

# nsupdate reads lines of words: nothing may end a word or a line.
for word in "$name" "$host" "$zone" "$server"; do
	case $word in
	'') fail "the name, the host, -z and -s must not be empty" ;;
	*[!A-Za-z0-9._:-]*) fail "'$word' is no name: only letters, digits and . _ : - are allowed" ;;
	esac
done
case $ttl in
'' | *[!0-9]*) fail "-t '$ttl' is no number of seconds" ;;
esac
[ -r "$key" ] || fail "-k '$key' cannot be read"

case $host in
*:*) record="AAAA $host" ;;
*[!0-9.]*) record="CNAME ${host%.}." ;;
*) record="A $host" ;;
esac

# One attempt takes at most 10 s, so that the hook ends before its own timeout.
nsupdate -k "$key" -t 10 -u 3 -r 2 <<EOF || fail "the update of $name.$zone was refused, or $server did not answer"
server $server
zone $zone.
update delete $name.$zone. A
update delete $name.$zone. AAAA
update delete $name.$zone. CNAME
update add $name.$zone. $ttl $record
send
EOF
echo "$name.$zone is $record now"
