{{/*
What the replicator reads: one folder, put together of ConfigMaps and Secrets. The folder changes
as a whole, and the replicator looks at its content, so a renewed Secret needs no restart.
*/}}

{{- define "image-replicator.folder" -}}
/etc/image-replicator
{{- end -}}

{{/* The path of a registry's CA below the folder; a port's colon is not for file names. */}}
{{- define "image-replicator.registryCA" -}}
registries/{{ . | replace ":" "_" | replace "[" "" | replace "]" "" }}.pem
{{- end -}}

{{/* One file of the folder: (dict "from" {configMap|secret, key} "path" PATH). */}}
{{- define "image-replicator.file" -}}
{{- $kind := ternary "secret" "configMap" (hasKey .from "secret") -}}
- {{ $kind }}:
    name: {{ get .from $kind }}
    items:
      - key: {{ .from.key | default "ca.crt" }}
        path: {{ .path | quote }}
{{- end -}}

{{/* The folder, as a volume's source. */}}
{{- define "image-replicator.files" -}}
projected:
  defaultMode: 0440
  sources:
    - configMap:
        name: {{ include "image-replicator.fullname" . }}
        items:
          - key: config.yaml
            path: config.yaml
    - secret:
        name: {{ include "image-replicator.tlsSecret" . }}
        items:
          - key: tls.crt
            path: tls.crt
          - key: tls.key
            path: tls.key
    - secret:
        name: {{ include "image-replicator.callersSecret" . }}
        items:
          - key: htpasswd
            path: htpasswd
    {{- range $name, $secret := .Values.credentials }}
    {{- include "image-replicator.file" (dict "from" (dict "secret" $secret "key" ".dockerconfigjson") "path" (printf "credentials/%s.json" $name)) | nindent 4 }}
    {{- end }}
    {{- range $host, $from := .Values.registryCAs }}
    {{- include "image-replicator.file" (dict "from" $from "path" (include "image-replicator.registryCA" $host)) | nindent 4 }}
    {{- end }}
    {{- range .Values.notifications }}
    {{- if .secret }}
    {{- include "image-replicator.file" (dict "from" (dict "secret" .secret "key" "secret") "path" (printf "notifications/%s.secret" .name)) | nindent 4 }}
    {{- end }}
    {{- if .ca }}
    {{- include "image-replicator.file" (dict "from" .ca "path" (printf "notifications/%s.pem" .name)) | nindent 4 }}
    {{- end }}
    {{- end }}
    {{- with .Values.front.clientCA }}
    {{- include "image-replicator.file" (dict "from" . "path" "client-ca.pem") | nindent 4 }}
    {{- end }}
    {{- with .Values.status.tokenSecret }}
    {{- include "image-replicator.file" (dict "from" (dict "secret" . "key" "token") "path" "status-token") | nindent 4 }}
    {{- end }}
    {{- if eq .Values.ledger.engine "postgres" }}
    {{- with .Values.ledger.postgres.ca }}
    {{- include "image-replicator.file" (dict "from" . "path" "ledger-ca.pem") | nindent 4 }}
    {{- end }}
    {{- end }}
{{- end -}}
