{{/*
A Grafana dashboard as JSON, made of a page of monitoring/dashboards: a title, what can be chosen at its top, and panels,
each with a question as its title, a unit of Grafana and queries {expr, legend}. Two panels stand side by side, `wide` ones
alone. `alarm`: above (or, with `below`, under) it a line is drawn; {oneMinus: NAME}: at 1 less alerts.NAME of the values.
*/}}
{{- define "genlock.dashboard" -}}
{{- $source := dict "type" "prometheus" "uid" "${datasource}" -}}
{{- $choices := list (dict "name" "datasource" "label" "Prometheus" "type" "datasource" "query" "prometheus") -}}
{{- range .page.choices -}}
{{- $choices = append $choices (dict
      "name" .name "label" .name "type" "query" "datasource" $source "refresh" 2 "sort" 1
      "query" .values "definition" .values "includeAll" true "multi" true "allValue" ".*"
      "current" (dict "text" "All" "value" "$__all")) -}}
{{- end -}}
{{- $panels := list -}}
{{- $x := 0 -}}
{{- $y := 0 -}}
{{- range $index, $panel := .page.panels -}}
{{- if and .wide (gt $x 0) -}}{{- $x = 0 -}}{{- $y = add $y 8 -}}{{- end -}}
{{- $targets := list -}}
{{- range $number, $query := .queries -}}
{{- $targets = append $targets (dict
      "refId" (printf "%c" (add 65 $number)) "datasource" $source "expr" .expr "legendFormat" .legend) -}}
{{- end -}}
{{- $defaults := dict "unit" .unit "min" 0 "custom" (dict "fillOpacity" 8 "showPoints" "never" "spanNulls" false) -}}
{{- if hasKey . "max" -}}{{- $_ := set $defaults "max" .max -}}{{- end -}}
{{- if hasKey . "alarm" -}}
{{- $alarm := .alarm -}}
{{- if kindIs "map" .alarm -}}{{- $alarm = subf 1 (get $.alerts .alarm.oneMinus) -}}{{- end -}}
{{- $steps := list (dict "color" "green" "value" nil) (dict "color" "red" "value" $alarm) -}}
{{- if .below -}}{{- $steps = list (dict "color" "red" "value" nil) (dict "color" "green" "value" $alarm) -}}{{- end -}}
{{- $_ := set $defaults "thresholds" (dict "mode" "absolute" "steps" $steps) -}}
{{- $_ := set $defaults.custom "thresholdsStyle" (dict "mode" "line") -}}
{{- end -}}
{{- $panels = append $panels (dict
      "id" (add $index 1) "type" "timeseries" "title" .title "description" (.description | default "") "datasource" $source
      "gridPos" (dict "h" 8 "w" (ternary 24 12 (.wide | default false)) "x" $x "y" $y)
      "fieldConfig" (dict "defaults" $defaults "overrides" list)
      "options" (dict "legend" (dict "displayMode" "list" "placement" "bottom") "tooltip" (dict "mode" "multi" "sort" "desc"))
      "targets" $targets) -}}
{{- if or .wide (gt $x 0) -}}{{- $x = 0 -}}{{- $y = add $y 8 -}}{{- else -}}{{- $x = 12 -}}{{- end -}}
{{- end -}}
{{- dict
      "uid" (printf "genlock-%s" .name) "title" (printf "Genlock: %s" .page.title) "description" .page.description
      "tags" (list "genlock") "schemaVersion" 39 "version" 1 "editable" true "refresh" "30s" "timezone" "browser"
      "time" (dict "from" "now-3h" "to" "now")
      "links" (list (dict "type" "dashboards" "tags" (list "genlock") "title" "Genlock" "asDropdown" true "keepTime" true))
      "templating" (dict "list" $choices) "annotations" (dict "list" list) "panels" $panels | toJson -}}
{{- end -}}
