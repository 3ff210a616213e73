"""The chart: what it refuses, what it renders, and that every pod of it is one that a restricted namespace takes."""

import subprocess
from pathlib import Path

import pytest
import yaml

from genlock_core.process.address import Address
from genlock_core.spec.pool import WorkerPoolSpec
from genlock_gateway.settings import parse_settings as gateway_settings
from genlock_operator.settings import parse_settings as operator_settings
from genlock_operator.uninstall import parse_settings as uninstall_settings
from tests.chart.rendering import (
    CHART,
    KUBE_VERSION,
    ROOT,
    Manifest,
    environment,
    helm,
    one,
    pod_specs,
    refusal,
    render,
)

EXTERNAL = ("redis.enabled=false", "redis.existingSecret.name=our-redis")
WEIGHTS = (
    "weights.fetch.enabled=true",
    'weights.fetch.files=[{"url":"https://example.org/x","path":"x","sha256":"' + "0" * 64 + '"}]',
)
MATRIX: dict[str, tuple[str, ...]] = {
    "defaults": (),
    "host port": ("gateway.exposure.mode=hostPort",),
    "load balancer": (
        "gateway.exposure.mode=loadBalancer",
        "gateway.replicas=1",
        "gateway.exposure.address=192.0.2.1",
    ),
    "pod network": ("gateway.exposure.mode=podNetwork",),
    "Redis by its secret": EXTERNAL,
    "Redis by its URL": ("redis.enabled=false", "redis.url=redis://redis.example:6379"),
    "every namespace": ("operator.watch.all=true",),
    "two namespaces": ('operator.watch.namespaces=["live","studio"]',),
    "not its own namespace": ('operator.watch.namespaces=["studio"]',),
    "no nodes": ("operator.watch.nodes=false",),
    "a secret of one's own": ("secrets.existingSecret=ours",),
    "weights": WEIGHTS,
    "ingress and JWT": (
        "gateway.ingress.enabled=true",
        "gateway.ingress.host=genlock.example.org",
        "gateway.ingress.tlsSecret=certificate",
        'gateway.proxies=["10.42.0.0/16","fd00:42::/48"]',
        'gateway.jwt.publicKey={"configMap":"jwt","key":"key.pem"}',
        'gateway.iceServers=["stun:stun.example.org:3478"]',
    ),
    "TURN": (
        'gateway.iceServers=["turns:turn.example.org:443?transport=tcp"]',
        "gateway.turnSecret.name=turn",
        "gateway.turnSecret.key=shared",
    ),
    "monitored": (
        "podMonitor.enabled=true",
        'networkPolicies.scrapeNamespaces=["monitoring"]',
        "alerts.enabled=true",
        'alerts.labels={"prometheus":"ours"}',
        "dashboards.enabled=true",
        "serviceMonitor.enabled=true",
    ),
    "decoding in the worker": ("workers.decodeProcess=false",),
    "a budget for snapshots": ("redis.snapshotBudget=300Mi",),
    "a budget of GPUs": ('operator.gpuBudget=["NVIDIA-H100=32","NVIDIA-A100=8"]',),
    "KEDA": ("operator.scaler.enabled=true", 'operator.scaler.namespaces=["keda","autoscaling"]'),
    "bare": (
        "networkPolicies.enabled=false",
        "priorityClasses.create=false",
        "protection.admissionPolicy=false",
        "protection.disruptionBudget=false",
        "profiles.enabled=false",
        "rbac.aggregate=false",
        "uninstall.clean=false",
        "redis.persistence.enabled=false",
    ),
    "written for the release before": (
        "gateway.drainTimeoutSeconds=15",
        "gateway.logLevel=info",
        "operator.logLevel=warning",
        "operator.logFormat=text",
        "uninstall.timeoutSeconds=60",
        'gateway.env={"GENLOCK_GATEWAY_MAX_PEERS":8000,"GENLOCK_GATEWAY_REQUESTS_PER_S":"20"}',
        'operator.env={"GENLOCK_OPERATOR_FIGURES_EVERY_S":"5"}',
    ),
    "levels in capitals": ("gateway.logLevel=DEBUG", "operator.logLevel=WARNING"),
    "placed": (
        'operator.nodeSelector={"pool":"system"}',
        'gateway.tolerations=[{"key":"edge","operator":"Exists"}]',
        'imagePullSecrets=["registry"]',
        'commonLabels={"team":"video"}',
    ),
}
every_case = pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX.keys())


def test_helm_finds_nothing_to_say() -> None:
    done = subprocess.run(
        [helm(), "lint", "--strict", "--kube-version", KUBE_VERSION, str(CHART)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ("gateway.replcas=2", "/gateway"),
        ("operator.watch.namespace=x", "/operator/watch"),
        ("gateway.exposure.mode=nodeport", "/gateway/exposure/mode"),
        ("redis.url=redis://user:password@redis:6379", "/redis/url"),
        ("replicas=2", "additional properties"),
        ("gateway.logLevel=verbose", "/gateway/logLevel"),
        ("gateway.drainTimeoutSeconds=-1", "/gateway/drainTimeoutSeconds"),
        ("operator.logFormat=xml", "/operator/logFormat"),
        ("redis.snapshotBudget=half", "/redis/snapshotBudget"),
        ("operator.gpuBudget[0]=NVIDIA-H100", "/operator/gpuBudget/0"),
        ("workers.decodeProcess=maybe", "/workers/decodeProcess"),
        ("operator.scaler.port=80", "/operator/scaler/port"),
        ("operator.scaler.namespaces[0]=Keda", "/operator/scaler/namespaces/0"),
        ("gateway.names[0]=https://live.example.org", "/gateway/names/0"),
        ("gateway.proxies[0]=ingress-nginx", "/gateway/proxies/0"),
        ("weights.fetch.files[0].url=https://example.org/x", "/weights/fetch/files/0"),
    ],
)
def test_a_mistake_in_the_values_is_named(value: str, where: str) -> None:
    assert where in refusal(value)


def test_a_load_balancer_stands_before_one_gateway() -> None:
    assert "gateway.replicas=1" in refusal("gateway.exposure.mode=loadBalancer", "gateway.exposure.address=192.0.2.1")


def test_an_ingress_needs_its_proxies_and_a_name() -> None:
    assert "gateway.proxies" in refusal("gateway.ingress.enabled=true", "gateway.ingress.host=live.example.org")
    assert "gateway.names" in refusal("gateway.ingress.enabled=true", "gateway.proxies[0]=10.42.0.0/16")


INSIDE = {
    "genlock-gateway",
    "genlock-gateway.live",
    "genlock-gateway.live.svc",
    "genlock-gateway.live.svc.cluster.local",
}


@pytest.mark.parametrize(
    ("values", "outside"),
    [
        ((), set()),
        (("gateway.publicUrl=https://Live.example.org:8443/base",), {"live.example.org"}),
        (("gateway.publicUrl=http://192.0.2.1:30080",), set()),
        (("gateway.publicUrl=http://[2001:db8::1]:30080",), set()),
        (MATRIX["ingress and JWT"], {"genlock.example.org"}),
        (('gateway.names=["one.example.org","*.example.com"]',), {"one.example.org", "*.example.com"}),
    ],
)
def test_gateways_know_the_names_that_clients_have_for_them(values: tuple[str, ...], outside: set[str]) -> None:
    spec = one(render(*values), "Deployment", "genlock-gateway")["spec"]["template"]["spec"]
    settings = gateway_settings(
        ["--name", "g0"], {name: value for name, value in environment(spec).items() if name.endswith(("NAME", "PROXY"))}
    )
    assert set(settings.edge.names) == INSIDE | outside
    assert [str(network) for network in settings.edge.proxies] == (
        ["10.42.0.0/16", "fd00:42::/48"] if values == MATRIX["ingress and JWT"] else []
    )


def test_probes_and_figures_have_a_port_that_no_service_leads_to() -> None:
    manifests = render("podMonitor.enabled=true", "gateway.exposure.mode=nodePort")
    (container,) = one(manifests, "Deployment", "genlock-gateway")["spec"]["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    told = {each["name"]: each.get("value") for each in container["env"]}
    assert told["GENLOCK_GATEWAY_HEALTH"] == f"0.0.0.0:{ports['metrics']}"
    assert {container[probe]["httpGet"]["port"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")} == {
        "metrics"
    }
    monitor = one(manifests, "PodMonitor", "genlock-gateway")
    assert [each["port"] for each in monitor["spec"]["podMetricsEndpoints"]] == ["metrics"]

    services = [each["spec"] for each in manifests if each["kind"] == "Service"]
    ours = [each for each in services if each["selector"]["app.kubernetes.io/name"] == "genlock-gateway"]
    led_to = {port["targetPort"] for each in ours for port in each["ports"]}
    assert led_to == {"http", "media"}
    assert not {"metrics", ports["metrics"]} & led_to
    rules = one(manifests, "NetworkPolicy", "genlock-gateway")["spec"]["ingress"]
    (scraping,) = [rule for rule in rules if {"protocol": "TCP", "port": "metrics"} in rule["ports"]]
    assert scraping["from"]


def test_there_must_be_a_redis() -> None:
    assert "redis.enabled" in refusal("redis.enabled=false")


@every_case
def test_every_pod_is_restricted(values: tuple[str, ...]) -> None:
    for name, spec in pod_specs(render(*values)):
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["runAsUser"] > 0, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec), name
        for volume in spec.get("volumes", ()):
            assert set(volume) - {"name"} <= {"emptyDir", "configMap", "secret", "persistentVolumeClaim"}, name
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name
            ports = container.get("ports", ())
            assert "gateway.exposure.mode=hostPort" in values or not any("hostPort" in port for port in ports), name


@every_case
def test_only_the_operator_and_the_uninstall_have_a_token(values: tuple[str, ...]) -> None:
    tokens = {name for name, spec in pod_specs(render(*values)) if spec["automountServiceAccountToken"]}
    assert tokens == {"Deployment genlock-operator", "Job genlock-uninstall"} - (
        {"Job genlock-uninstall"} if "uninstall.clean=false" in values else set()
    )


@every_case
def test_every_container_has_resources_and_what_stays_has_probes(values: tuple[str, ...]) -> None:
    for name, spec in pod_specs(render(*values)):
        for container in spec["containers"]:
            assert container["resources"]["requests"], name
            assert container["resources"]["limits"]["memory"], name
            if name.startswith(("Deployment", "StatefulSet")):
                assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(container), name


@every_case
def test_names_are_given_once(values: tuple[str, ...]) -> None:
    names = [(each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in render(*values)]
    assert len(names) == len(set(names))


@every_case
def test_the_operator_understands_what_it_is_told(values: tuple[str, ...]) -> None:
    spec = one(render(*values), "Deployment", "genlock-operator")["spec"]["template"]["spec"]
    variables = environment(spec) | {"POD_NAMESPACE": "live"}
    settings = operator_settings(spec["containers"][0]["args"], variables)
    assert (settings.scope.namespaces is None) == ("operator.watch.all=true" in values)
    assert settings.scope.nodes == ("operator.watch.nodes=false" not in values)
    assert settings.workers.image == "localhost/genlock/worker:dev"
    assert bool(settings.workers.redis_secret) != bool(settings.workers.redis_url)


@every_case
def test_the_lease_may_be_held_where_the_operator_wants_it(values: tuple[str, ...]) -> None:
    manifests = render(*values)
    spec = one(manifests, "Deployment", "genlock-operator")["spec"]["template"]["spec"]
    scope = operator_settings(spec["containers"][0]["args"], environment(spec) | {"POD_NAMESPACE": "live"}).scope
    role = one(manifests, "Role", "genlock-operator-lease")
    assert role["metadata"]["namespace"] == scope.lease_namespace
    assert role["rules"][1]["resourceNames"] == [scope.lease_name]


@every_case
def test_the_gateway_understands_what_it_is_told(values: tuple[str, ...], tmp_path: Path) -> None:
    spec = one(render(*values), "Deployment", "genlock-gateway")["spec"]["template"]["spec"]
    variables = environment(spec) | {"GENLOCK_GATEWAY_NAME": "genlock-gateway-0"}
    variables["GENLOCK_GATEWAY_ADVERTISE_IP"] = (
        variables["GENLOCK_GATEWAY_ADVERTISE_IP"].replace("$(HOST_IP)", "192.0.2.2").replace("$(POD_IP)", "10.0.0.2")
    )
    variables.pop("GENLOCK_GATEWAY_JWT_PUBLIC_KEY", None)
    if "GENLOCK_GATEWAY_TURN_SECRET_FILE" in variables:
        assert variables["GENLOCK_GATEWAY_TURN_SECRET_FILE"] == "/turn/shared"
        assert {"name": "turn", "secret": {"secretName": "turn"}} in spec["volumes"]
        assert {"name": "turn", "mountPath": "/turn", "readOnly": True} in spec["containers"][0]["volumeMounts"]
        (tmp_path / "shared").write_text("secret")
        variables["GENLOCK_GATEWAY_TURN_SECRET_FILE"] = str(tmp_path / "shared")
    settings = gateway_settings([], variables)
    assert settings.udp[0].port == 30_478
    assert settings.advertise_ips == {
        "gateway.exposure.mode=podNetwork": ("10.0.0.2",),
        "gateway.exposure.mode=loadBalancer": ("192.0.2.1",),
    }.get(values[0] if values else "", ("192.0.2.2",))
    assert settings.drain_timeout_s + 15 == spec["terminationGracePeriodSeconds"]


@every_case
def test_the_uninstall_understands_what_it_is_told(values: tuple[str, ...]) -> None:
    if "uninstall.clean=false" in values:
        pytest.skip("there is none")
    manifests = render(*values)
    job = one(manifests, "Job", "genlock-uninstall")["spec"]
    settings = uninstall_settings(job["template"]["spec"]["containers"][0]["args"], {})
    assert one(manifests, "ValidatingAdmissionPolicyBinding", settings.policy_binding)
    assert settings.timeout_s < job["activeDeadlineSeconds"]


def test_secrets_are_in_the_secret_alone() -> None:
    manifests = render()
    secret = one(manifests, "Secret", "genlock-secrets")
    assert set(secret["data"]) == {"secrets", "redis-password", "redis-url"}
    others = yaml.safe_dump([each for each in manifests if each is not secret])
    assert "stringData" not in others
    assert not any(value in others for value in secret["data"].values())
    assert all(each["kind"] != "Secret" for each in render("secrets.existingSecret=ours"))


def rules(manifests: list[Manifest]) -> list[Manifest]:
    return [rule for each in manifests if each["kind"] in ("Role", "ClusterRole") for rule in each["rules"]]


@every_case
def test_nobody_may_read_secrets_or_do_everything(values: tuple[str, ...]) -> None:
    for rule in rules(render(*values)):
        assert "secrets" not in rule["resources"]
        assert "*" not in rule["resources"] + rule["verbs"] + rule["apiGroups"]


def test_without_nodes_and_aggregation_only_the_uninstall_reaches_beyond_its_namespaces() -> None:
    manifests = render("operator.watch.nodes=false", "rbac.aggregate=false")
    assert [each["metadata"]["name"] for each in manifests if each["kind"] == "ClusterRole"] == [
        "genlock.live.uninstall.policy"
    ]


def test_each_watched_namespace_has_what_it_needs() -> None:
    manifests = render('operator.watch.namespaces=["live","studio"]')
    for kind, name in (
        ("Role", "genlock-operator"),
        ("RoleBinding", "genlock-operator"),
        ("PodDisruptionBudget", "genlock-serving"),
        ("NetworkPolicy", "genlock-worker"),
    ):
        found = {e["metadata"]["namespace"] for e in manifests if e["kind"] == kind and e["metadata"]["name"] == name}
        assert found == {"live", "studio"}, kind


@pytest.mark.parametrize(("mode", "surge"), [("nodePort", 0), ("hostPort", 0), ("podNetwork", 1)])
def test_gateways_that_share_a_port_are_replaced_one_after_the_other(mode: str, surge: int) -> None:
    gateway = one(render(f"gateway.exposure.mode={mode}"), "Deployment", "genlock-gateway")["spec"]
    assert gateway["strategy"]["rollingUpdate"] == {"maxSurge": surge, "maxUnavailable": 1 - surge}
    assert ("affinity" in gateway["template"]["spec"]) == (surge == 0)


def test_the_pools_are_ones_that_genlock_understands() -> None:
    pools = [each for each in render() if each["kind"] == "WorkerPool"]
    assert {WorkerPoolSpec.model_validate(pool["spec"]).gpu.count for pool in pools} == {1, 2}


def test_another_release_shares_no_name_with_this_one() -> None:
    def cluster_wide(release: str, namespace: str) -> set[tuple[str, str]]:
        manifests = render("priorityClasses.create=false", release=release, namespace=namespace)
        return {(e["kind"], e["metadata"]["name"]) for e in manifests if "namespace" not in e["metadata"]}

    assert not cluster_wide("genlock", "a") & cluster_wide("genlock", "b")


def test_the_chart_brings_the_resources_of_this_version() -> None:
    ours = {path.name: path.read_text() for path in (ROOT / "manifests/crds").glob("*.yaml")}
    assert {path.name: path.read_text() for path in (CHART / "crds").glob("*.yaml")} == ours


def test_the_chart_brings_the_profiles_of_this_version() -> None:
    ours = {path.name: path.read_text() for path in (ROOT / "core/genlock_core/sizing/profiles").glob("*.yaml")}
    assert {path.name: path.read_text() for path in (CHART / "profiles").glob("*.yaml")} == ours


def test_the_plain_manifests_are_those_of_the_chart() -> None:
    helm()
    done = subprocess.run([ROOT / "manifests/render", "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"run manifests/render\n{done.stdout[:2_000]}{done.stderr}"


def test_the_plain_manifests_hold_no_secret() -> None:
    manifests = [each for each in yaml.safe_load_all((ROOT / "manifests/install.yaml").read_text()) if each]
    assert not [each for each in manifests if each["kind"] == "Secret"]


def test_the_budget_of_snapshots_reaches_the_operator() -> None:
    for values, told in (((), None), (("redis.snapshotBudget=300Mi",), 300 * 1024**2)):
        spec = one(render(*values), "Deployment", "genlock-operator")["spec"]["template"]["spec"]
        settings = operator_settings(spec["containers"][0]["args"], environment(spec) | {"POD_NAMESPACE": "live"})
        assert settings.snapshot_budget_bytes == told


def test_the_budget_of_gpus_reaches_the_operator() -> None:
    budget = 'operator.gpuBudget=["NVIDIA-H100=32","NVIDIA-A100=8"]'
    for values, told in (((), ()), ((budget,), (("NVIDIA-H100", 32), ("NVIDIA-A100", 8)))):
        spec = one(render(*values), "Deployment", "genlock-operator")["spec"]["template"]["spec"]
        settings = operator_settings(spec["containers"][0]["args"], environment(spec) | {"POD_NAMESPACE": "live"})
        assert settings.gpu_budget == told


def test_kedas_scaler_is_served_where_it_is_wanted_and_to_kedas_namespaces_alone() -> None:
    def found(*values: str) -> tuple[Address | None, list[int], list[Manifest]]:
        manifests = render(*values)
        spec = one(manifests, "Deployment", "genlock-operator")["spec"]["template"]["spec"]
        settings = operator_settings(spec["containers"][0]["args"], environment(spec) | {"POD_NAMESPACE": "live"})
        service = one(manifests, "Service", "genlock-operator")["spec"]["ports"]
        rules = one(manifests, "NetworkPolicy", "genlock-operator")["spec"]["ingress"]
        led_to = [port["port"] for port in service if port["targetPort"] == "scaler"]
        return settings.scaler, led_to, [rule for rule in rules if rule["ports"][0]["port"] == "scaler"]

    assert found() == (None, [], [])
    address, led_to, (rule,) = found(
        "operator.scaler.enabled=true", "operator.scaler.port=7443", 'operator.scaler.namespaces=["keda","scaling"]'
    )
    assert (address, led_to) == (Address("0.0.0.0", 7443), [7443])
    (allowed,) = rule["from"]
    assert allowed["namespaceSelector"]["matchExpressions"] == [
        {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["keda", "scaling"]}
    ]

    # Nobody may ask where no namespace is named: a rule without `from` would let everybody in.
    assert found("operator.scaler.enabled=true", "operator.scaler.namespaces=[]")[2] == []


def test_workers_decode_out_of_process_unless_the_values_say_otherwise() -> None:
    for values, told in (((), True), (("workers.decodeProcess=false",), False)):
        spec = one(render(*values), "Deployment", "genlock-operator")["spec"]["template"]["spec"]
        settings = operator_settings(spec["containers"][0]["args"], environment(spec) | {"POD_NAMESPACE": "live"})
        assert settings.workers.decode_process is told


def images_of(manifests: list[Manifest]) -> set[str]:
    """What the chart's own pods run and what the operator gives to workers; not the Redis."""
    spec = one(manifests, "Deployment", "genlock-operator")["spec"]["template"]["spec"]
    (worker,) = [word for word in spec["containers"][0]["args"] if word.startswith("--worker-image=")]
    gateway = one(manifests, "Deployment", "genlock-gateway")["spec"]["template"]["spec"]["containers"][0]["image"]
    return {spec["containers"][0]["image"], gateway, worker.removeprefix("--worker-image=")}


def test_images_are_taken_by_digest_where_one_is_given() -> None:
    digests = {part: f"sha256:{letter * 64}" for part, letter in (("operator", "a"), ("gateway", "b"), ("worker", "c"))}
    given = [f"image.digests.{part}={digest}" for part, digest in digests.items()]
    found = images_of(render("image.repository=registry.example/genlock", *given))
    assert found == {f"registry.example/genlock/{part}@{digest}" for part, digest in digests.items()}


def test_a_part_without_a_digest_keeps_its_tag_and_a_whole_name_wins() -> None:
    digest = f"sha256:{'b' * 64}"
    found = images_of(render("image.tag=1.2", f"image.digests.gateway={digest}", "image.worker=other/worker:3"))
    assert found == {"localhost/genlock/operator:1.2", f"localhost/genlock/gateway@{digest}", "other/worker:3"}


@pytest.mark.parametrize("digest", ["b" * 64, "sha256:abc", "md5:abc", f"sha256:{'B' * 64}"])
def test_what_is_no_digest_is_refused(digest: str) -> None:
    assert "digest" in refusal(f"image.digests.gateway={digest}")


def test_values_of_a_release_that_knew_no_digests_are_taken() -> None:
    assert images_of(render("image.digests=null")) == {
        f"localhost/genlock/{part}:dev" for part in ("operator", "gateway", "worker")
    }
