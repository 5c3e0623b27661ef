# SPDX-License-Identifier: MIT
"""Answers that are no success, as the API words them."""

from __future__ import annotations


class ApiError(Exception):
    """An HTTP status with the API's text, and for 400 the parameters it complains about."""

    def __init__(self, status: int, message: str, errors: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message.rstrip("\n")
        self.errors = errors


class TaskError(Exception):
    """A task fails; the text becomes its exit status."""


def invalid(errors: dict[str, str]) -> ApiError:
    return ApiError(400, "Parameter verification failed.", errors)


def no_config(node: str, vmid: int) -> ApiError:
    return ApiError(500, f"Configuration file 'nodes/{node}/qemu-server/{vmid}.conf' does not exist")
