# shellcheck shell=bash
# A real Kubernetes API server on loopback, with etcd below it: for tests with lib.sh. There is no
# node, so pods are stored and never run, which is all that admission needs.

has_api_server() {
    local program
    PATH="$ROOT/target/tools/bin:$PATH"
    # Of several names `command -v` is content with one.
    for program in kube-apiserver etcd kubectl; do
        command -v "$program" >/dev/null || return 1
    done
}

# start_api_server: as the services `etcd` and `api`, with RBAC; $WORK/api/kubeconfig is its
# administrator's.
start_api_server() {
    local folder="$WORK/api" token
    mkdir -p "$folder" "$WORK/etcd"
    free_port >"$WORK/etcd/port"
    free_port >"$WORK/etcd/peer-port"
    launch_and_wait etcd etcd --data-dir "$WORK/etcd/data" \
        --listen-client-urls "http://127.0.0.1:$(port_of etcd)" \
        --advertise-client-urls "http://127.0.0.1:$(port_of etcd)" \
        --listen-peer-urls "http://127.0.0.1:$(cat "$WORK/etcd/peer-port")"
    free_port >"$folder/port"
    openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$folder/accounts.key" 2>/dev/null
    token="$(openssl rand -hex 16)"
    printf '%s,admin,admin,system:masters\n' "$token" >"$folder/tokens.csv"
    kubeconfig "$token" >"$folder/kubeconfig"
    launch_and_wait api kube-apiserver --etcd-servers "http://127.0.0.1:$(port_of etcd)" \
        --bind-address 127.0.0.1 --secure-port "$(port_of api)" --cert-dir "$folder" \
        --tls-cert-file "$WORK/tls/server.crt" --tls-private-key-file "$WORK/tls/server.key" \
        --authorization-mode RBAC --token-auth-file "$folder/tokens.csv" \
        --service-account-issuer https://kubernetes.default.svc \
        --service-account-key-file "$folder/accounts.key" \
        --service-account-signing-key-file "$folder/accounts.key" \
        --service-cluster-ip-range 10.0.0.0/24 --disable-admission-plugins ServiceAccount
    wait_until 60 "the API server is not ready" is_api_server_ready
}

is_api_server_ready() { k get --raw /readyz >/dev/null 2>&1 && k get namespace default >/dev/null 2>&1; }

# k ARGUMENT...: kubectl as the administrator.
k() { KUBECONFIG="$WORK/api/kubeconfig" kubectl --cache-dir "$WORK/api/cache" "$@"; }

# kubeconfig TOKEN: on stdout.
kubeconfig() {
    jq -n --arg server "https://$(address_of api)" --arg ca "$WORK/tls/ca.pem" --arg token "$1" '{
        apiVersion: "v1", kind: "Config", "current-context": "test",
        clusters: [{name: "test", cluster: {server: $server, "certificate-authority": $ca}}],
        users: [{name: "test", user: {token: $token}}],
        contexts: [{name: "test", context: {cluster: "test", user: "test"}}]
    }'
}

# token_of NAMESPACE ACCOUNT: what a pod of that service account has mounted.
token_of() {
    jq -n '{apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec: {expirationSeconds: 3600}}' |
        k create --raw "/api/v1/namespaces/$1/serviceaccounts/$2/token" -f - | jq -r .status.token
}

# webhook POLICY: what Kubewarden registers for the ClusterAdmissionPolicy in that JSON file, on stdout.
webhook() {
    jq --arg url "https://$(address_of server)/validate/image-replicator" \
        --arg ca "$(base64 -w 0 "$WORK/tls/ca.pem")" '{
        apiVersion: "admissionregistration.k8s.io/v1", kind: "MutatingWebhookConfiguration",
        metadata: {name: "image-replicator"},
        webhooks: [{
            name: "image-replicator.kubewarden.admission", admissionReviewVersions: ["v1"],
            clientConfig: {url: $url, caBundle: $ca}, failurePolicy: "Fail", matchPolicy: "Equivalent",
            sideEffects: .spec.sideEffects, timeoutSeconds: (.spec.timeoutSeconds // 10),
            rules: .spec.rules, namespaceSelector: .spec.namespaceSelector
        }]
    }' "$1"
}
