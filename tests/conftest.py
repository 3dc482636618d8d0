"""A test must not fail because the machine is busy: hypothesis counts examples, not milliseconds.

Nor because of how the tests were started: in the background of a script, or under nohup, SIGINT, SIGQUIT and SIGHUP
are ignored, which every process that a test starts would inherit.
"""

from __future__ import annotations

import signal

from hypothesis import HealthCheck, settings

settings.register_profile("fimi", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("fimi")

signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
