from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Verdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VERDICT_UNSPECIFIED: _ClassVar[Verdict]
    VERDICT_ANSWER: _ClassVar[Verdict]
    VERDICT_CLIMB: _ClassVar[Verdict]
    VERDICT_DROP: _ClassVar[Verdict]

class Energy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ENERGY_UNSPECIFIED: _ClassVar[Energy]
    ENERGY_MEASURED: _ClassVar[Energy]
    ENERGY_APPORTIONED: _ClassVar[Energy]
    ENERGY_ESTIMATED: _ClassVar[Energy]

class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTCOME_UNSPECIFIED: _ClassVar[Outcome]
    OUTCOME_ANSWERED: _ClassVar[Outcome]
    OUTCOME_DROPPED: _ClassVar[Outcome]
    OUTCOME_EXPIRED: _ClassVar[Outcome]
    OUTCOME_REFUSED: _ClassVar[Outcome]
VERDICT_UNSPECIFIED: Verdict
VERDICT_ANSWER: Verdict
VERDICT_CLIMB: Verdict
VERDICT_DROP: Verdict
ENERGY_UNSPECIFIED: Energy
ENERGY_MEASURED: Energy
ENERGY_APPORTIONED: Energy
ENERGY_ESTIMATED: Energy
OUTCOME_UNSPECIFIED: Outcome
OUTCOME_ANSWERED: Outcome
OUTCOME_DROPPED: Outcome
OUTCOME_EXPIRED: Outcome
OUTCOME_REFUSED: Outcome

class Tensor(_message.Message):
    __slots__ = ("name", "dtype", "shape", "data", "encoding")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    name: str
    dtype: str
    shape: _containers.RepeatedScalarFieldContainer[int]
    data: bytes
    encoding: str
    def __init__(self, name: _Optional[str] = ..., dtype: _Optional[str] = ..., shape: _Optional[_Iterable[int]] = ..., data: _Optional[bytes] = ..., encoding: _Optional[str] = ...) -> None: ...

class Question(_message.Message):
    __slots__ = ("id", "device", "stream", "sequence", "task", "release", "payload", "ms_left", "digest", "stage", "priority", "age_ms", "keep_ms", "audit", "hidden")
    ID_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    MS_LEFT_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    AGE_MS_FIELD_NUMBER: _ClassVar[int]
    KEEP_MS_FIELD_NUMBER: _ClassVar[int]
    AUDIT_FIELD_NUMBER: _ClassVar[int]
    HIDDEN_FIELD_NUMBER: _ClassVar[int]
    id: str
    device: str
    stream: str
    sequence: int
    task: str
    release: str
    payload: _containers.RepeatedCompositeFieldContainer[Tensor]
    ms_left: float
    digest: bytes
    stage: str
    priority: int
    age_ms: float
    keep_ms: float
    audit: bool
    hidden: bytes
    def __init__(self, id: _Optional[str] = ..., device: _Optional[str] = ..., stream: _Optional[str] = ..., sequence: _Optional[int] = ..., task: _Optional[str] = ..., release: _Optional[str] = ..., payload: _Optional[_Iterable[_Union[Tensor, _Mapping]]] = ..., ms_left: _Optional[float] = ..., digest: _Optional[bytes] = ..., stage: _Optional[str] = ..., priority: _Optional[int] = ..., age_ms: _Optional[float] = ..., keep_ms: _Optional[float] = ..., audit: bool = ..., hidden: _Optional[bytes] = ...) -> None: ...

class ClassScores(_message.Message):
    __slots__ = ("scores",)
    SCORES_FIELD_NUMBER: _ClassVar[int]
    scores: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, scores: _Optional[_Iterable[float]] = ...) -> None: ...

class Estimate(_message.Message):
    __slots__ = ("values", "spreads")
    VALUES_FIELD_NUMBER: _ClassVar[int]
    SPREADS_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    spreads: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, values: _Optional[_Iterable[float]] = ..., spreads: _Optional[_Iterable[float]] = ...) -> None: ...

class AnomalyScore(_message.Message):
    __slots__ = ("score", "limit")
    SCORE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    score: float
    limit: float
    def __init__(self, score: _Optional[float] = ..., limit: _Optional[float] = ...) -> None: ...

class Detection(_message.Message):
    __slots__ = ("label", "score", "box")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    BOX_FIELD_NUMBER: _ClassVar[int]
    label: int
    score: float
    box: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, label: _Optional[int] = ..., score: _Optional[float] = ..., box: _Optional[_Iterable[float]] = ...) -> None: ...

class Detections(_message.Message):
    __slots__ = ("found", "nothing")
    FOUND_FIELD_NUMBER: _ClassVar[int]
    NOTHING_FIELD_NUMBER: _ClassVar[int]
    found: _containers.RepeatedCompositeFieldContainer[Detection]
    nothing: float
    def __init__(self, found: _Optional[_Iterable[_Union[Detection, _Mapping]]] = ..., nothing: _Optional[float] = ...) -> None: ...

class Step(_message.Message):
    __slots__ = ("node", "tier", "stage", "model", "verdict", "reason", "confidence", "threshold", "ms", "joules", "energy", "bytes_up", "sent", "guess")
    NODE_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    MS_FIELD_NUMBER: _ClassVar[int]
    JOULES_FIELD_NUMBER: _ClassVar[int]
    ENERGY_FIELD_NUMBER: _ClassVar[int]
    BYTES_UP_FIELD_NUMBER: _ClassVar[int]
    SENT_FIELD_NUMBER: _ClassVar[int]
    GUESS_FIELD_NUMBER: _ClassVar[int]
    node: str
    tier: str
    stage: str
    model: str
    verdict: Verdict
    reason: str
    confidence: float
    threshold: float
    ms: float
    joules: float
    energy: Energy
    bytes_up: int
    sent: str
    guess: str
    def __init__(self, node: _Optional[str] = ..., tier: _Optional[str] = ..., stage: _Optional[str] = ..., model: _Optional[str] = ..., verdict: _Optional[_Union[Verdict, str]] = ..., reason: _Optional[str] = ..., confidence: _Optional[float] = ..., threshold: _Optional[float] = ..., ms: _Optional[float] = ..., joules: _Optional[float] = ..., energy: _Optional[_Union[Energy, str]] = ..., bytes_up: _Optional[int] = ..., sent: _Optional[str] = ..., guess: _Optional[str] = ...) -> None: ...

class Answer(_message.Message):
    __slots__ = ("id", "device", "digest", "stream", "sequence", "task", "release", "outcome", "reason", "classes", "estimate", "anomaly", "detections", "label", "tier", "provisional", "correction", "handed_over_before", "retry_ms", "trail")
    ID_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    ESTIMATE_FIELD_NUMBER: _ClassVar[int]
    ANOMALY_FIELD_NUMBER: _ClassVar[int]
    DETECTIONS_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    PROVISIONAL_FIELD_NUMBER: _ClassVar[int]
    CORRECTION_FIELD_NUMBER: _ClassVar[int]
    HANDED_OVER_BEFORE_FIELD_NUMBER: _ClassVar[int]
    RETRY_MS_FIELD_NUMBER: _ClassVar[int]
    TRAIL_FIELD_NUMBER: _ClassVar[int]
    id: str
    device: str
    digest: bytes
    stream: str
    sequence: int
    task: str
    release: str
    outcome: Outcome
    reason: str
    classes: ClassScores
    estimate: Estimate
    anomaly: AnomalyScore
    detections: Detections
    label: str
    tier: str
    provisional: bool
    correction: bool
    handed_over_before: bool
    retry_ms: float
    trail: _containers.RepeatedCompositeFieldContainer[Step]
    def __init__(self, id: _Optional[str] = ..., device: _Optional[str] = ..., digest: _Optional[bytes] = ..., stream: _Optional[str] = ..., sequence: _Optional[int] = ..., task: _Optional[str] = ..., release: _Optional[str] = ..., outcome: _Optional[_Union[Outcome, str]] = ..., reason: _Optional[str] = ..., classes: _Optional[_Union[ClassScores, _Mapping]] = ..., estimate: _Optional[_Union[Estimate, _Mapping]] = ..., anomaly: _Optional[_Union[AnomalyScore, _Mapping]] = ..., detections: _Optional[_Union[Detections, _Mapping]] = ..., label: _Optional[str] = ..., tier: _Optional[str] = ..., provisional: bool = ..., correction: bool = ..., handed_over_before: bool = ..., retry_ms: _Optional[float] = ..., trail: _Optional[_Iterable[_Union[Step, _Mapping]]] = ...) -> None: ...

class Up(_message.Message):
    __slots__ = ("version", "questions", "hello", "ping")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    QUESTIONS_FIELD_NUMBER: _ClassVar[int]
    HELLO_FIELD_NUMBER: _ClassVar[int]
    PING_FIELD_NUMBER: _ClassVar[int]
    version: int
    questions: _containers.RepeatedCompositeFieldContainer[Question]
    hello: str
    ping: int
    def __init__(self, version: _Optional[int] = ..., questions: _Optional[_Iterable[_Union[Question, _Mapping]]] = ..., hello: _Optional[str] = ..., ping: _Optional[int] = ...) -> None: ...

class Down(_message.Message):
    __slots__ = ("version", "answers", "welcome", "pong")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ANSWERS_FIELD_NUMBER: _ClassVar[int]
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    PONG_FIELD_NUMBER: _ClassVar[int]
    version: int
    answers: _containers.RepeatedCompositeFieldContainer[Answer]
    welcome: str
    pong: int
    def __init__(self, version: _Optional[int] = ..., answers: _Optional[_Iterable[_Union[Answer, _Mapping]]] = ..., welcome: _Optional[str] = ..., pong: _Optional[int] = ...) -> None: ...

class Sample(_message.Message):
    __slots__ = ("metric", "labels", "value", "buckets")
    METRIC_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    BUCKETS_FIELD_NUMBER: _ClassVar[int]
    metric: str
    labels: _containers.RepeatedScalarFieldContainer[str]
    value: float
    buckets: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, metric: _Optional[str] = ..., labels: _Optional[_Iterable[str]] = ..., value: _Optional[float] = ..., buckets: _Optional[_Iterable[int]] = ...) -> None: ...

class Metrics(_message.Message):
    __slots__ = ("version", "samples")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    version: int
    samples: _containers.RepeatedCompositeFieldContainer[Sample]
    def __init__(self, version: _Optional[int] = ..., samples: _Optional[_Iterable[_Union[Sample, _Mapping]]] = ...) -> None: ...

class Presence(_message.Message):
    __slots__ = ("version", "online", "runtime")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ONLINE_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    version: int
    online: bool
    runtime: str
    def __init__(self, version: _Optional[int] = ..., online: bool = ..., runtime: _Optional[str] = ...) -> None: ...
