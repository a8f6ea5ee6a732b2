{{/* The replicator's configuration: what the values say of it, and where the chart mounts things. */}}

{{/* PostgreSQL's user and password are no part of it: they are in the environment, from a Secret. */}}
{{- define "image-replicator.ledger" -}}
{{- if eq .Values.ledger.engine "sqlite" -}}
sqlite:/var/lib/image-replicator/ledger.db
{{- else -}}
{{- $postgres := .Values.ledger.postgres -}}
{{- $host := required "ledger.postgres.host: where is PostgreSQL?" $postgres.host -}}
{{- $ca := ternary (printf "&sslrootcert=%s/ledger-ca.pem" (include "image-replicator.folder" .)) "" (not (empty $postgres.ca)) -}}
{{- printf "postgres://%s:%v/%s?sslmode=%s%s" $host $postgres.port $postgres.database $postgres.sslmode $ca -}}
{{- end -}}
{{- end -}}

{{- define "image-replicator.front" -}}
{{- $folder := include "image-replicator.folder" . -}}
listen: {{ printf "%s:%v" .Values.listenAddress .Values.front.port | quote }}
certificate: {{ $folder }}/tls.crt
key: {{ $folder }}/tls.key
callers: {{ $folder }}/htpasswd
{{- if .Values.front.clientCA }}
client_ca: {{ $folder }}/client-ca.pem
{{- end }}
{{- with .Values.front.rights }}
rights: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "image-replicator.status" -}}
listen: {{ printf "%s:%v" .Values.listenAddress .Values.status.port | quote }}
{{- if .Values.status.tokenSecret }}
token: {{ include "image-replicator.folder" . }}/status-token
{{- end }}
{{- end -}}

{{- define "image-replicator.config" -}}
{{- $folder := include "image-replicator.folder" . -}}
{{- $config := deepCopy .Values.config -}}
{{- $_ := set $config "front" (include "image-replicator.front" . | fromYaml) -}}
{{- $_ := set $config "status" (include "image-replicator.status" . | fromYaml) -}}
{{- $_ := set $config "ledger" (include "image-replicator.ledger" .) -}}
{{- range $host, $_ := .Values.registryCAs -}}
  {{- $registry := get $config.registries $host | default dict -}}
  {{- $_ := set $registry "ca" (printf "%s/%s" $folder (include "image-replicator.registryCA" $host)) -}}
  {{- $_ := set $config.registries $host $registry -}}
{{- end -}}
{{- $credentials := dict -}}
{{- range $name, $_ := .Values.credentials -}}
  {{- $_ := set $credentials $name (printf "%s/credentials/%s.json" $folder $name) -}}
{{- end -}}
{{- $_ := set $config "credentials" $credentials -}}
{{- $tenancy := dict -}}
{{- with .Values.tenancy.secretNamespaces -}}
  {{- $_ := set $tenancy "secret_namespaces" . -}}
{{- end -}}
{{- with .Values.tenancy.namespaceBytes -}}
  {{- $_ := set $tenancy "namespace_bytes" . -}}
{{- end -}}
{{- $_ := set $config "tenancy" $tenancy -}}
{{- if .Values.inventory.watchPods -}}
  {{- $_ := set $config "inventory" (dict "watch_pods" true) -}}
{{- end -}}
{{- $receivers := list -}}
{{- range .Values.notifications -}}
  {{- $receiver := deepCopy . -}}
  {{- if .secret -}}{{- $_ := set $receiver "secret" (printf "%s/notifications/%s.secret" $folder .name) -}}{{- end -}}
  {{- if .ca -}}{{- $_ := set $receiver "ca" (printf "%s/notifications/%s.pem" $folder .name) -}}{{- end -}}
  {{- $receivers = append $receivers $receiver -}}
{{- end -}}
{{- $_ := set $config "notifications" $receivers -}}
{{- range $key, $value := $config -}}
  {{- if and (or (kindIs "map" $value) (kindIs "slice" $value)) (empty $value) -}}
    {{- $_ := unset $config $key -}}
  {{- end -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}
