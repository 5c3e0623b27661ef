# SPDX-License-Identifier: MIT
"""The system configuration: one whole document. Missing keys are refused, unknown ones dropped in silence.

Section and key names are those of version 3.1 as far as known, less what earlier ones lack; inside `integrityChecks`
and `ffmpeg.realtime` they are made up. Values are plausible defaults.
"""

from __future__ import annotations

import os
import re
from typing import Any

import release

QUEUES = ["thumbnailGeneration", "metadataExtraction", "videoConversion", "faceDetection", "facialRecognition",
          "smartSearch", "duplicateDetection", "backgroundTask", "storageTemplateMigration", "migration", "search",
          "sidecar", "library", "notifications", "backupDatabase", "ocr", "workflow", "editor"]  # fmt: skip
ALONE = ("facialRecognition", "duplicateDetection", "storageTemplateMigration", "backupDatabase")


def defaults() -> dict[str, Any]:
    nightly = {"enabled": True, "cronExpression": "0 03 * * *"}
    picture = {"format": "jpeg", "quality": 80, "progressive": False}
    document: dict[str, Any] = {
        "backup": {"database": {"enabled": True, "cronExpression": "0 02 * * *", "keepLastAmount": 14}},
        "ffmpeg": {
            "crf": 23, "threads": 0, "preset": "ultrafast", "targetVideoCodec": "h264", "acceptedVideoCodecs": ["h264"],
            "targetAudioCodec": "aac", "acceptedAudioCodecs": ["aac", "mp3", "opus"],
            "acceptedContainers": ["mov", "ogg", "webm"], "targetResolution": "720", "maxBitrate": "0", "bframes": -1,
            "refs": 0, "gopSize": 0, "temporalAQ": False, "cqMode": "auto", "twoPass": False,
            "preferredHwDevice": "auto", "transcode": "required", "tonemap": "hable", "accel": "disabled",
            "accelDecode": False, "realtime": {"enabled": False},
        },
        "image": {
            "thumbnail": picture | {"format": "webp", "size": 250}, "preview": picture | {"size": 1440},
            "colorspace": "p3", "extractEmbedded": False, "fullsize": picture | {"enabled": False},
        },
        "integrityChecks": {
            "missingFiles": dict(nightly), "untrackedFiles": dict(nightly),
            "checksumFiles": nightly | {"timeLimit": 3600000, "percentageLimit": 1},
        },
        "job": {queue: {"concurrency": 5} for queue in QUEUES if queue not in ALONE},
        "library": {"scan": {"enabled": True, "cronExpression": "0 0 * * *"}, "watch": {"enabled": False}},
        "logging": {"enabled": True, "level": "log"},
        "machineLearning": {
            "enabled": os.environ.get("IMMICH_MACHINE_LEARNING_ENABLED") != "false",
            "urls": [os.environ.get("IMMICH_MACHINE_LEARNING_URL") or "http://immich-machine-learning:3003"],
            "availabilityChecks": {"enabled": True, "timeout": 2000, "interval": 30000},
            "clip": {"enabled": True, "modelName": "ViT-B-32__openai"},
            "duplicateDetection": {"enabled": True, "maxDistance": 0.01},
            "facialRecognition": {"enabled": True, "modelName": "buffalo_l", "minScore": 0.7, "maxDistance": 0.5,
                                  "minFaces": 3},
            "ocr": {"enabled": True, "modelName": "PP-OCRv5_mobile", "minDetectionScore": 0.5,
                    "minRecognitionScore": 0.8, "maxResolution": 736},
        },
        "map": {"enabled": True, "lightStyle": "https://tiles.immich.cloud/v1/style/light.json",
                "darkStyle": "https://tiles.immich.cloud/v1/style/dark.json"},
        "metadata": {"faces": {"import": False}},
        "newVersionCheck": {"enabled": True},
        "nightlyTasks": {"startTime": "00:00", "databaseCleanup": True, "missingThumbnails": True,
                         "clusterNewFaces": True, "generateMemories": True, "syncQuotaUsage": True},
        "notifications": {"smtp": {
            "enabled": False, "from": "", "replyTo": "",
            "transport": {"ignoreCert": False, "host": "", "port": 587, "secure": False,
                          "username": "", "password": ""},
        }},
        "oauth": {
            "autoLaunch": False, "autoRegister": True, "buttonText": "Login with OAuth", "clientId": "",
            "clientSecret": "", "defaultStorageQuota": None, "enabled": False, "issuerUrl": "",
            "mobileOverrideEnabled": False, "mobileRedirectUri": "", "scope": "openid email profile",
            "signingAlgorithm": "RS256", "profileSigningAlgorithm": "none", "timeout": 30000,
            "storageLabelClaim": "preferred_username", "storageQuotaClaim": "immich_quota",
            "roleClaim": "immich_role", "tokenEndpointAuthMethod": "client_secret_post",
        },
        "passwordLogin": {"enabled": True},
        "reverseGeocoding": {"enabled": True},
        "server": {"externalDomain": "", "loginPageMessage": "", "publicUsers": True},
        "storageTemplate": {"enabled": False, "hashVerificationEnabled": True,
                            "template": "{{y}}/{{y}}-{{MM}}-{{dd}}/{{filename}}"},
        "templates": {"email": {"welcomeTemplate": "", "albumInviteTemplate": "", "albumUpdateTemplate": ""}},
        "theme": {"customCss": ""},
        "trash": {"enabled": True, "days": 30},
        "user": {"deleteDelay": 7},
    }  # fmt: skip
    if not release.at_least(3):
        del document["integrityChecks"], document["ffmpeg"]["realtime"]
    if not release.at_least(2, 2):
        del document["machineLearning"]["ocr"], document["job"]["ocr"]
    return document


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        if key in base:
            merged[key] = merge(base[key], value) if isinstance(base[key], dict) and isinstance(value, dict) else value
    return merged


def check(given: Any, model: dict[str, Any], path: tuple[str, ...] = ()) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The document without unknown keys, and every problem."""
    kept: dict[str, Any] = {}
    problems: list[dict[str, Any]] = []
    for key, default in model.items():
        here = [*path, key]
        if not isinstance(given, dict) or key not in given:
            kind = "object" if isinstance(default, dict) else type(default).__name__
            problems.append(_problem("invalid_type", here, f"Invalid input: expected {kind}, received undefined"))
        elif isinstance(default, dict):
            kept[key], more = check(given[key], default, (*path, key))
            problems += more
        else:
            kept[key] = given[key]
            if not _fits(given[key], default):
                problems.append(_problem("invalid_type", here, f"Invalid input: expected {type(default).__name__}"))
            elif key == "cronExpression" and not _cron(given[key]):
                problems.append(_problem("custom", here, "Invalid cron expression"))
    return kept, problems


def unknown(given: dict[str, Any], model: dict[str, Any], path: str = "") -> list[str]:
    found: list[str] = []
    for key, value in given.items():
        if key not in model:
            found.append(path + key)
        elif isinstance(value, dict) and isinstance(model[key], dict):
            found += unknown(value, model[key], f"{path}{key}.")
    return found


def _problem(code: str, path: list[str], message: str) -> dict[str, Any]:
    return {"code": code, "path": path, "message": message}


def _fits(value: Any, default: Any) -> bool:
    if default is None:
        return value is None or isinstance(value, (int, float))
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(value, bool) and isinstance(default, bool)
    if isinstance(default, (int, float)):
        return isinstance(value, (int, float))
    return isinstance(value, type(default))


def _cron(text: str) -> bool:
    fields = text.split()
    return len(fields) in (5, 6) and all(re.fullmatch(r"[\d*,/\-A-Za-z?#L]+", field) for field in fields)
