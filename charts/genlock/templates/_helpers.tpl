{{- define "genlock.fullname" -}}
{{- if .Values.fullnameOverride }}{{ .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains "genlock" .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}{{ printf "%s-genlock" .Release.Name | trunc 40 | trimSuffix "-" }}{{ end -}}
{{- end }}

{{/* Cluster-wide names carry the namespace too, so that two installations never share one. */}}
{{- define "genlock.clusterName" -}}
{{ include "genlock.fullname" . }}.{{ .Release.Namespace }}
{{- end }}

{{/* Labels of an object: dict "root" $ "component" "gateway". */}}
{{- define "genlock.labels" -}}
{{ include "genlock.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: genlock
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "genlock.selector" -}}
app.kubernetes.io/name: genlock-{{ .component }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{/* The component's image: the whole name that was given, else by its digest, else by the tag. */}}
{{- define "genlock.image" -}}
{{- $image := .root.Values.image }}
{{- $name := printf "%s/%s" $image.repository .component }}
{{- $tagged := printf "%s:%s" $name $image.tag }}
{{- $digest := get ($image.digests | default dict) .component }}
{{- get $image .component | default (empty $digest | ternary $tagged (printf "%s@%s" $name $digest)) }}
{{- end }}

{{- define "genlock.secretName" -}}
{{ .Values.secrets.existingSecret | default (printf "%s-secrets" (include "genlock.fullname" .)) }}
{{- end }}

{{/* The namespaces that the operator looks after, as a JSON list; with watch.all: the release's alone. */}}
{{- define "genlock.namespaces" -}}
{{ (.Values.operator.watch.all | ternary (list) .Values.operator.watch.namespaces) | default (list .Release.Namespace) | uniq | toJson }}
{{- end }}

{{/* Where the replicas' lease lies: in a namespace that is watched. */}}
{{- define "genlock.leaseNamespace" -}}
{{- $namespaces := include "genlock.namespaces" . | fromJsonArray -}}
{{ has .Release.Namespace $namespaces | ternary .Release.Namespace (first $namespaces) }}
{{- end }}

{{/* NAME/KEY of the Secret with the whole URL of Redis; empty where redis.url says it. */}}
{{- define "genlock.redisSecret" -}}
{{- if .Values.redis.enabled }}{{ include "genlock.secretName" . }}/redis-url
{{- else if .Values.redis.existingSecret.name }}{{ .Values.redis.existingSecret.name }}/{{ .Values.redis.existingSecret.key }}{{ end -}}
{{- end }}

{{/* The environment variable that tells a container of Redis: dict "root" $ "name" "GENLOCK_GATEWAY_REDIS". */}}
{{- define "genlock.redisEnv" -}}
{{- $secret := include "genlock.redisSecret" .root -}}
- name: {{ .name }}
{{- if $secret }}
  valueFrom:
    secretKeyRef: {name: {{ dir $secret }}, key: {{ base $secret }}}
{{- else }}
  value: {{ required "set redis.enabled, redis.url or redis.existingSecret.name" .root.Values.redis.url | quote }}
{{- end }}
{{- end }}

{{- define "genlock.publicUrl" -}}
{{- if .Values.gateway.publicUrl }}{{ .Values.gateway.publicUrl }}
{{- else if and .Values.gateway.ingress.enabled .Values.gateway.ingress.host }}{{ ternary "https" "http" (not (empty .Values.gateway.ingress.tlsSecret)) }}://{{ .Values.gateway.ingress.host }}
{{- else }}http://{{ include "genlock.fullname" . }}-gateway.{{ .Release.Namespace }}{{ if ne (int .Values.gateway.service.port) 80 }}:{{ .Values.gateway.service.port }}{{ end }}{{ end -}}
{{- end }}

{{/* The names of the gateways for clients, with blanks between. */}}
{{- define "genlock.gatewayNames" -}}
{{- $gateway := .Values.gateway -}}
{{- $service := printf "%s-gateway" (include "genlock.fullname" .) -}}
{{- $inside := printf "%s.%s" $service .Release.Namespace -}}
{{- $names := list $service $inside (printf "%s.svc" $inside) (printf "%s.svc.cluster.local" $inside) -}}
{{- if $gateway.ingress.enabled }}{{ $names = append $names $gateway.ingress.host }}{{ end -}}
{{- $public := (urlParse $gateway.publicUrl).hostname -}}
{{- if not (regexMatch "^[0-9.]*$|:" $public) }}{{ $names = append $names $public }}{{ end -}}
{{ concat $names $gateway.names | compact | uniq | join " " }}
{{- end }}

{{- define "genlock.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "genlock.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "genlock.pullSecrets" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{/* nodeSelector, tolerations, affinity of a component's values. */}}
{{- define "genlock.placement" -}}
{{- range $key := list "nodeSelector" "tolerations" "affinity" }}
{{- with get $ $key }}
{{ $key }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}

{{- define "genlock.spread" -}}
- maxSkew: 1
  topologyKey: kubernetes.io/hostname
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- include "genlock.selector" . | nindent 6 }}
{{- end }}

{{- define "genlock.redisConf" -}}
bind * -::*
port 6379
dir /data
appendonly yes
appendfsync everysec
save ""
maxmemory {{ .Values.redis.maxMemory }}
maxmemory-policy noeviction
{{- end -}}

{{- define "genlock.watchRules" }}
- apiGroups: [genlock.dev]
  resources: [streamsessions]
  verbs: [get, list, watch, delete]
- apiGroups: [genlock.dev]
  resources: [workerpools, modelprofiles]
  verbs: [get, list, watch]
- apiGroups: [genlock.dev]
  resources: [streamsessions/status, workerpools/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, create, patch, delete]
# Watched everywhere, as proof that watching works.
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: ["{{ include "genlock.fullname" . }}-operator"]
  verbs: [get, list, watch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end }}

{{/* Who may read a health port: the release's namespace, and those of Prometheus. dict "root" $ "port" "metrics". */}}
{{- define "genlock.scraped" -}}
- ports: [{protocol: TCP, port: {{ .port }}}]
  from:
    - namespaceSelector:
        matchExpressions:
          - key: kubernetes.io/metadata.name
            operator: In
            values: {{ prepend .root.Values.networkPolicies.scrapeNamespaces .root.Release.Namespace | uniq | toJson }}
{{- end }}

{{/* Egress to names and to Redis, ours or one outside. */}}
{{- define "genlock.toDnsAndRedis" -}}
- ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
{{- if .Values.redis.enabled }}
- ports: [{protocol: TCP, port: redis}]
  to:
    - namespaceSelector:
        matchLabels: {kubernetes.io/metadata.name: {{ .Release.Namespace }}}
      podSelector:
        matchLabels: {{- include "genlock.selector" (dict "root" $ "component" "redis") | nindent 10 }}
{{- else }}
- ports:
    {{- range .Values.networkPolicies.redisPorts }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
{{- end }}
{{- end }}

{{/* Annotations of what lives only for the time of an uninstall; the argument is its weight. */}}
{{- define "genlock.uninstallHook" -}}
helm.sh/hook: pre-delete
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}

{{- define "genlock.uninstallRules" }}
- apiGroups: [genlock.dev]
  resources: [streamsessions, workerpools]
  verbs: [list, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list]
{{- end }}
