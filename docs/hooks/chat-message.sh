#!/bin/sh
# Posts a message about a recovery to a chat's incoming webhook, as {"text": ...}.
#
#   chat-message.sh CURLCONFIG
#
# What happened is taken from the environment of the hook. CURLCONFIG is a file
# for "curl --config" with the webhook's address, which is a secret and so stands
# on no command line:   url = "https://chat.example/hooks/..."
set -eu

fail() {
	echo "chat-message: $*" >&2
	exit 1
}

[ $# -eq 1 ] || fail "want the file with the webhook's address, there are $# arguments"
[ -r "$1" ] || fail "'$1' cannot be read"

where="$SWITCHYARD_FAILURE_CLUSTER: $SWITCHYARD_FAILURE_TYPE on $SWITCHYARD_FAILED_HOST:$SWITCHYARD_FAILED_PORT"
case $SWITCHYARD_MOMENT in
OnFailureDetection) text="$where was detected: $SWITCHYARD_FAILURE_DESCRIPTION" ;;
PreFailover | PreGracefulTakeover) text="$where: recovery begins" ;;
PostUnsuccessfulFailover) text="$where: recovery $SWITCHYARD_RECOVERY_UID FAILED: $SWITCHYARD_FAILURE_DESCRIPTION" ;;
*) text="$where: recovery $SWITCHYARD_RECOVERY_UID ($SWITCHYARD_MOMENT)" ;;
esac
if [ -n "$SWITCHYARD_SUCCESSOR_HOST" ]; then
	text="$text; successor $SWITCHYARD_SUCCESSOR_HOST:${SWITCHYARD_SUCCESSOR_PORT:-}"
fi
if [ -n "$SWITCHYARD_LOST_REPLICAS" ]; then
	text="$text; lost $SWITCHYARD_LOST_REPLICAS"
fi

# In a JSON string, control characters may not stand, and two others are escaped.
escaped=$(printf %s "$text" | tr '\000-\037\177' ' ' | sed 's/[\\"]/\\&/g')

printf '{"text": "%s"}' "$escaped" |
	curl --config "$1" --silent --show-error --fail --max-time 10 \
		--header 'Content-Type: application/json' --data-binary @- --output /dev/null ||
	fail "the message was not taken"
