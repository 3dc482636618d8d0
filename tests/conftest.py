"""A test must not fail because the machine is busy: hypothesis counts examples, not milliseconds."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("fimi", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("fimi")
