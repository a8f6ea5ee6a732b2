{{/* What the schema cannot say: values that fit each other. Stops with what to do. */}}
{{- define "image-replicator.checks" -}}
{{- $config := .Values.config -}}
{{- $_ := required "config.target.root: where shall replicas live? For example registry.corp/mirror" $config.target.root -}}
{{- if not $config.rules -}}
  {{- fail "config.rules: nothing is copied that no rule allows; write at least one, for example {name: public, sources: [docker.io/**]}" -}}
{{- end -}}

{{- $used := list -}}
{{- with $config.target.credentials -}}{{- $used = append $used . -}}{{- end -}}
{{- range $config.rules -}}
  {{- with .credentials -}}{{- $used = append $used . -}}{{- end -}}
{{- end -}}
{{- range $name := $used -}}
  {{- if not (hasKey $.Values.credentials $name) -}}
    {{- fail (printf "credentials.%s: a rule or the target names it; say which Secret it is" $name) -}}
  {{- end -}}
{{- end -}}

{{- $uses := false -}}
{{- range $config.rules -}}
  {{- $uses = or $uses (default false .namespace_secrets) -}}
{{- end -}}
{{- if ne $uses (not (empty .Values.tenancy.secretNamespaces)) -}}
  {{- fail "tenancy.secretNamespaces: list namespaces if a rule has namespace_secrets: true, and only then; no Secret is to be readable for nothing" -}}
{{- end -}}

{{- if eq .Values.ledger.engine "sqlite" -}}
  {{- if gt (int .Values.replicas) 1 -}}
    {{- fail "replicas: SQLite is a file of one replicator; for more set ledger.engine to postgres" -}}
  {{- end -}}
{{- else -}}
  {{- $_ := required "ledger.postgres.secret: name the Secret with PostgreSQL's user and password" .Values.ledger.postgres.secret -}}
{{- end -}}

{{- $ours := .Values.policyServer.existingPullSecret -}}
{{- if ne (empty $ours) (empty .Values.front.callers.existingSecret) -}}
  {{- fail "front.callers.existingSecret and policyServer.existingPullSecret: set both or none; they hold the same password" -}}
{{- end -}}

{{- $budget := int (dig "budgetMs" 800 .Values.policy.settings) -}}
{{- $evaluation := mul 1000 (int .Values.policy.timeoutEvalSeconds) -}}
{{- if ge (add $budget 1000) $evaluation -}}
  {{- fail "policy.settings.budgetMs: must be more than a second below policy.timeoutEvalSeconds, or the policy server refuses pods without a reason" -}}
{{- end -}}
{{- if ge (int .Values.policy.timeoutEvalSeconds) (int .Values.policy.timeoutSeconds) -}}
  {{- fail "policy.timeoutEvalSeconds: must be below policy.timeoutSeconds, or the API server hangs up first" -}}
{{- end -}}
{{- end -}}
