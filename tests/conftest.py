"""Fixtures that tests of several parts share; each module below says what it gives."""

pytest_plugins = ["tests.browsers", "tests.fake_kubelet", "tests.kube_fixtures", "tests.redis_servers"]
