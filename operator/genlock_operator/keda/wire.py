"""The messages of KEDA's `externalscaler.ExternalScaler`, as they lie on the wire.

The service is a public protocol of KEDA (https://keda.sh/docs/latest/concepts/external-scalers). Names, numbers and
types of its fields are all that two sides have to agree on, so they stand here as a table. protobuf makes classes of
them, which read and write the bytes. Everybody else in this room sees plain dataclasses.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory

SERVICE: Final = "externalscaler.ExternalScaler"
_PACKAGE: Final = "externalscaler"

_Field = descriptor_pb2.FieldDescriptorProto
_FIELDS: Final[Mapping[str, Mapping[str, tuple[int, Any]]]] = {
    "ScaledObjectRef": {
        "name": (1, _Field.TYPE_STRING),
        "namespace": (2, _Field.TYPE_STRING),
        "scalerMetadata": (3, "ScaledObjectRef.ScalerMetadataEntry[]"),
    },
    # A map is a list of pairs (https://protobuf.dev/programming-guides/encoding/#maps).
    "ScaledObjectRef.ScalerMetadataEntry": {
        "key": (1, _Field.TYPE_STRING),
        "value": (2, _Field.TYPE_STRING),
    },
    "IsActiveResponse": {
        "result": (1, _Field.TYPE_BOOL),
    },
    "GetMetricSpecResponse": {
        "metricSpecs": (1, "MetricSpec[]"),
    },
    "MetricSpec": {
        "metricName": (1, _Field.TYPE_STRING),
        "targetSize": (2, _Field.TYPE_INT64),
        "targetSizeFloat": (3, _Field.TYPE_DOUBLE),
    },
    "GetMetricsRequest": {
        "scaledObjectRef": (1, "ScaledObjectRef"),
        "metricName": (2, _Field.TYPE_STRING),
    },
    "GetMetricsResponse": {
        "metricValues": (1, "MetricValue[]"),
    },
    "MetricValue": {
        "metricName": (1, _Field.TYPE_STRING),
        "metricValue": (2, _Field.TYPE_INT64),
        "metricValueFloat": (3, _Field.TYPE_DOUBLE),
    },
}
"""Message -> field -> its number, and its type: one of protobuf's, another message, or a list of those (`[]`)."""


class NoMessage(ValueError):
    """The bytes are no message of the protocol."""


@dataclass(frozen=True, slots=True)
class ScaledObject:
    """Who asks: a ScaledObject, and what its trigger's `metadata` says."""

    name: str
    namespace: str
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MetricWanted:
    """A ScaledObject asks for this metric."""

    of: ScaledObject
    metric: str


class Messages:
    """Reads what KEDA sends, and writes what it is answered. It keeps a pool of descriptors of its own."""

    def __init__(self) -> None:
        pool = descriptor_pool.DescriptorPool()
        pool.Add(_file())

        def named(name: str) -> type[message.Message]:
            return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))

        self._scaled_object = named("ScaledObjectRef")
        self._metric_wanted = named("GetMetricsRequest")
        self._active = named("IsActiveResponse")
        self._spec = named("GetMetricSpecResponse")
        self._metrics = named("GetMetricsResponse")

    def scaled_object(self, data: bytes) -> ScaledObject:
        """Raises NoMessage."""
        return _scaled_object(_parsed(self._scaled_object, data))

    def metric_wanted(self, data: bytes) -> MetricWanted:
        """Raises NoMessage."""
        found = _parsed(self._metric_wanted, data)
        return MetricWanted(_scaled_object(found.scaledObjectRef), found.metricName)

    def active(self, *, active: bool) -> bytes:
        """Whether there should be any worker at all."""
        return self._active(result=active).SerializeToString()

    def spec(self, metric: str, target: int) -> bytes:
        """What a metric's value is divided by to get a number of workers."""
        # KEDA reads the whole number where it knows no other, and prefers the float where it does.
        one = {"metricName": metric, "targetSize": target, "targetSizeFloat": float(target)}
        return self._spec(metricSpecs=[one]).SerializeToString()

    def metric(self, metric: str, value: int) -> bytes:
        """A metric's value."""
        one = {"metricName": metric, "metricValue": value, "metricValueFloat": float(value)}
        return self._metrics(metricValues=[one]).SerializeToString()


def _parsed(kind: type[message.Message], data: bytes) -> Any:
    try:
        return kind.FromString(data)
    except message.DecodeError as error:
        raise NoMessage(f"the bytes are no {kind.DESCRIPTOR.name}") from error


def _scaled_object(found: Any) -> ScaledObject:
    return ScaledObject(found.name, found.namespace, dict(found.scalerMetadata))


def _file() -> descriptor_pb2.FileDescriptorProto:
    """The table, as protobuf wants to be told."""
    file = descriptor_pb2.FileDescriptorProto(name="externalscaler.proto", package=_PACKAGE, syntax="proto3")
    made: dict[str, descriptor_pb2.DescriptorProto] = {}
    for path, fields in _FIELDS.items():
        within, _, name = path.rpartition(".")
        one = made[within].nested_type.add(name=name) if within else file.message_type.add(name=name)
        if within:
            one.options.map_entry = True
        for field_name, (number, kind) in fields.items():
            _add(one, field_name, number, kind)
        made[path] = one
    return file


def _add(to: descriptor_pb2.DescriptorProto, name: str, number: int, kind: Any) -> None:
    one = to.field.add(name=name, number=number, label=_Field.LABEL_OPTIONAL)
    if not isinstance(kind, str):
        one.type = kind
        return
    one.type = _Field.TYPE_MESSAGE
    one.type_name = f".{_PACKAGE}.{kind.removesuffix('[]')}"
    if kind.endswith("[]"):
        one.label = _Field.LABEL_REPEATED
