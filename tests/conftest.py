"""Shared fixtures: a missing toolchain skips on a user's machine and fails in CI."""

import os

import pytest

from levsha.targets import Target


@pytest.fixture
def need():
    def check(target: Target) -> None:
        if target.missing():
            if os.environ.get("CI"):
                pytest.fail(f"{target.name}: {target.missing()}")
            pytest.skip(f"{target.name}: {target.missing()}")

    return check
