#!/usr/bin/env bats
# An AdmissionReview over HTTPS, as the API server sends it to a policy server.

bats_require_minimum_version 1.5.0
load helpers

setup_file() {
    start_everything
    publish web shop/web:1.0 1 >"$WORK/images/reference"
    start_policy_server "$HOST" replicator rewrite \
        --cert-file "$WORK/tls/server.crt" --key-file "$WORK/tls/server.key"
}
teardown_file() { work_end; }
setup() { image="$(cat "$WORK/images/reference")"; }
teardown() { show_logs; }

# review POD: the AdmissionReview with the server's answer; the assertions are about its response.
review() {
    request false <<<"$1" |
        jq '{apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview", request: .}' |
        curl --silent --show-error --fail --max-time 10 --cacert "$WORK/tls/ca.pem" \
            --header 'Content-Type: application/json' --data-binary @- \
            "https://$(address_of server)/validate/image-replicator" >"$BATS_TEST_TMPDIR/review.json"
    take_answer "$(jq .response "$BATS_TEST_TMPDIR/review.json")"
}

@test "an AdmissionReview is answered with the patch" {
    review "$(pod "$image")"
    assert_rewritten "$image"
    jq -e '.apiVersion == "admission.k8s.io/v1" and .kind == "AdmissionReview"
        and .response.uid == "705ab4f5-6393-11e8-b7cc-42010a800002"
        and .response.patchType == "JSONPatch"' "$BATS_TEST_TMPDIR/review.json"
}

@test "a policy that is not there: 404" {
    local status
    status="$(request false <<<"$(pod "$image")" | jq '{request: .}' |
        curl --silent --max-time 10 --cacert "$WORK/tls/ca.pem" --output /dev/null \
            --write-out '%{http_code}' --header 'Content-Type: application/json' --data-binary @- \
            "https://$(address_of server)/validate/other")"
    [ "$status" -eq 404 ]
}
