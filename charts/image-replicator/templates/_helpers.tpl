{{/* Names, labels and addresses that several templates must agree on. */}}

{{- define "image-replicator.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "image-replicator.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: replicator
{{- end -}}

{{- define "image-replicator.labels" -}}
{{ include "image-replicator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: image-replicator
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "image-replicator.image" -}}
{{- $image := .Values.image -}}
{{- $image.repository -}}:{{- $image.tag | default (printf "v%s" .Chart.AppVersion) -}}
{{- with $image.digest }}@{{ . }}{{ end -}}
{{- end -}}

{{/* The name in the certificate. */}}
{{- define "image-replicator.host" -}}
{{- printf "%s.%s.svc" (include "image-replicator.fullname" .) .Release.Namespace -}}
{{- end -}}

{{/* How the policy, `sourceAuthorities` and the pull Secret call the replicator, to the letter. */}}
{{- define "image-replicator.address" -}}
{{- printf "%s:%v" (include "image-replicator.host" .) .Values.front.port -}}
{{- end -}}

{{/* Of what is in no namespace: releases of the same name must not share it. */}}
{{- define "image-replicator.clusterName" -}}
{{- printf "%s:%s" .Release.Namespace (include "image-replicator.fullname" .) -}}
{{- end -}}

{{/* "true" where the replicator asks the API server, and so needs a token. */}}
{{- define "image-replicator.asksCluster" -}}
{{- or .Values.inventory.watchPods (not (empty .Values.tenancy.secretNamespaces)) -}}
{{- end -}}

{{- define "image-replicator.tlsSecret" -}}
{{- if eq .Values.tls.mode "existingSecret" -}}
{{- required "tls.existingSecret: name the Secret with tls.crt and tls.key" .Values.tls.existingSecret -}}
{{- else -}}
{{- include "image-replicator.fullname" . }}-tls
{{- end -}}
{{- end -}}

{{- define "image-replicator.callersSecret" -}}
{{- .Values.front.callers.existingSecret | default (printf "%s-callers" (include "image-replicator.fullname" .)) -}}
{{- end -}}

{{- define "image-replicator.pullSecret" -}}
{{- .Values.policyServer.existingPullSecret | default (include "image-replicator.fullname" .) -}}
{{- end -}}

{{- define "image-replicator.claim" -}}
{{- .Values.ledger.sqlite.existingClaim | default (include "image-replicator.fullname" .) -}}
{{- end -}}

{{- define "image-replicator.policyServer" -}}
{{- if .Values.policyServer.create -}}
{{- .Values.policyServer.name | default (include "image-replicator.fullname" .) -}}
{{- else -}}
{{- required "policyServer.name: name the PolicyServer that is to run the policy" .Values.policyServer.name -}}
{{- end -}}
{{- end -}}

{{/* "true" where the cluster knows Kubewarden's kinds. */}}
{{- define "image-replicator.hasKubewarden" -}}
{{- .Capabilities.APIVersions.Has "policies.kubewarden.io/v1" -}}
{{- end -}}

{{/*
The CA of a certificate that the chart did not make, as PEM: as given, or as found in the Secret
beside the certificate. Empty while cert-manager has not issued it, also where the Secret is yet the
one that the chart made before cert-manager was chosen; and without a cluster.
*/}}
{{- define "image-replicator.foreignCA" -}}
{{- $secret := lookup "v1" "Secret" .Release.Namespace (include "image-replicator.tlsSecret" .) -}}
{{- if .Values.tls.ca -}}
{{- .Values.tls.ca -}}
{{- else if not (dig "metadata" "annotations" "image-replicator.io/host" "" $secret) -}}
{{- dig "data" "ca.crt" "" $secret | b64dec -}}
{{- end -}}
{{- end -}}

{{/* "true" once the policy server can know the replicator: until then the policy would refuse all pods. */}}
{{- define "image-replicator.isPolicyUsable" -}}
{{- $isCAKnown := or (eq .Values.tls.mode "generated") (include "image-replicator.foreignCA" .) -}}
{{- if and (eq (include "image-replicator.hasKubewarden" .) "true") (or $isCAKnown (not .Values.policyServer.create)) -}}
true
{{- end -}}
{{- end -}}

{{/* The namespaces that must start without the replicator, as a JSON list. */}}
{{- define "image-replicator.excludedNamespaces" -}}
{{- concat (list "kube-system" .Values.kubewarden.namespace .Release.Namespace) .Values.policy.excludedNamespaces | uniq | toJson -}}
{{- end -}}
