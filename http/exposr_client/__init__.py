"""Follow an Exposr Trainer: check, download, verify, load and hot-reload its models.

    from exposr_client import Detector, ModelFollower

    detector = Detector()
    with ModelFollower() as follower:             # EXPOSR_TRAINER_URL, EXPOSR_TRAINER_API_KEY
        detector.load(follower.download())
    print(detector.predict(["photo.jpg"])[0])

Needs httpx. Only `Detector` needs torch, timm, pillow and numpy, and imports them when it is first used.
"""

from exposr_client.detection.card import Verdict
from exposr_client.detection.detector import Detector, Prediction
from exposr_client.errors import (
    AuthError,
    CacheError,
    DetectorError,
    ExpiredError,
    ExposrClientError,
    FollowerStopped,
    ImageError,
    IntegrityError,
    KeyChangedError,
    LoadError,
    MissingLibraryError,
    NoModelError,
    ReportRefusedError,
    RollbackError,
    SignatureError,
    TrainerUnavailable,
    TrustError,
    UnexpectedAnswerError,
    VersionGoneError,
)
from exposr_client.field.reports import Receipt
from exposr_client.following.async_follower import AsyncModelFollower
from exposr_client.following.follower import ModelFollower
from exposr_client.trust.pointer import FileFacts, ModelInfo

__all__ = [
    "AsyncModelFollower",
    "AuthError",
    "CacheError",
    "Detector",
    "DetectorError",
    "ExpiredError",
    "ExposrClientError",
    "FileFacts",
    "FollowerStopped",
    "ImageError",
    "IntegrityError",
    "KeyChangedError",
    "LoadError",
    "MissingLibraryError",
    "ModelFollower",
    "ModelInfo",
    "NoModelError",
    "Prediction",
    "Receipt",
    "ReportRefusedError",
    "RollbackError",
    "SignatureError",
    "TrainerUnavailable",
    "TrustError",
    "UnexpectedAnswerError",
    "Verdict",
    "VersionGoneError",
]
