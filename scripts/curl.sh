# shellcheck shell=bash
# curl as a user of a service in $WORK. Part of lib.sh, and small enough to be timed with a client.

# curl_at SERVICE ARGUMENT...: as the user that `make_account` made there.
curl_at() {
    curl --silent --show-error --fail --cacert "$WORK/tls/ca.pem" \
        --netrc-file "$WORK/$1/netrc" "${@:2}"
}
