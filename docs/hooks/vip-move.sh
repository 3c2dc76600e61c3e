#!/bin/sh
# Moves a virtual IPv4 address from the old master's host to the new one's.
#
#   vip-move.sh -a ADDRESS/BITS -i INTERFACE [-u USER] OLD NEW
#
# The address is taken from OLD, if that answers, and given to NEW only once
# nobody in the network answers for it any more. Running it again changes nothing.
# Both hosts need "ip"; NEW needs "arping" (of iputils); USER may run both with
# "sudo -n"; host keys must be known to ssh.
set -eu

fail() {
	echo "vip-move: $*" >&2
	exit 1
}

vip='' interface='' user=''
while getopts a:i:u: option; do
	case $option in
	a) vip=$OPTARG ;;
	i) interface=$OPTARG ;;
	u) user=$OPTARG ;;
	*) fail "usage: vip-move.sh -a ADDRESS/BITS -i INTERFACE [-u USER] OLD NEW" ;;
	esac
done
shift $((OPTIND - 1))
[ $# -eq 2 ] || fail "want OLD and NEW, there are $# arguments"
old=$1 new=$2

# These words become part of a command on another host.
for word in "$old" "$new" "$vip" "$interface" "${user:-none}"; do
	case $word in
	'' | -*) fail "'$word': OLD, NEW, -a and -i must be given and begin with no dash" ;;
	*[!A-Za-z0-9._:/-]*) fail "'$word': only letters, digits and . _ : / - are allowed" ;;
	esac
done
case $vip in
*:*) fail "-a '$vip': IPv6 has no ARP, this is for IPv4" ;;
*.*.*.*/*) ;;
*) fail "-a '$vip': want ADDRESS/BITS, such as 10.0.0.100/24" ;;
esac
address=${vip%/*}

on() {
	host=$1
	shift
	# With both, a host that hangs is given up after about 8 s.
	ssh -n -o BatchMode=yes -o ConnectTimeout=3 -o ServerAliveInterval=2 -o ServerAliveCountMax=2 \
		"${user:+$user@}$host" "$@"
}

held="ip -o -4 address show dev $interface to $address"

if [ "$old" != "$new" ]; then
	if on "$old" "if [ -n \"\$($held)\" ]; then sudo -n ip address del $vip dev $interface; fi"; then
		echo "$old does not have $address"
	else
		echo "$old does not answer or did not let go of $address; looking whether it still has it" >&2
	fi
fi

has=$(on "$new" "$held") || fail "$new does not answer, or has no interface $interface"
if [ -n "$has" ]; then
	echo "$new has $address already"
else
	# It succeeds only where nobody answers for the address.
	on "$new" "sudo -n arping -D -q -c 2 -w 3 -I $interface $address" ||
		fail "somebody answers for $address still; it was not given to $new"
	on "$new" "sudo -n ip address add $vip dev $interface" || fail "$new did not take $address"
	echo "$new has $address now"
fi

# Tells the neighbours at once, instead of when they ask again.
on "$new" "sudo -n arping -U -q -c 3 -w 4 -I $interface $address" || fail "$new has $address, but could not announce it"
