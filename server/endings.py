"""How a command ends: errors that can be explained become a sentence and a documented exit code, others a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from server.errors import ConfigError, FimiServerError, MissingExtraError, ResourceError
from server.resources import explained

EXTRA_OF = {"torch": "server", "diffusers": "server", "PIL": "server", "cvxpy": "server", "scipy": "server",
            "matplotlib": "server", "rich": "server", "accelerate": "server",
            "transformers": "text2image", "ray": "ray"}  # fmt: skip
"""The extra of `fimi` that brings a package."""
INTERRUPTED = 130


def exit_code(program: str, command: Callable[[], None]) -> int:
    """Do `command` and return the code to exit with; sentences go to stderr, after the program's name."""
    try:
        command()
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except FimiServerError as error:
        return _said(program, str(error), error.exit_code)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRA_OF:
            raise
        return _said(program, missing_extra(package), MissingExtraError.exit_code)
    except (FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError) as error:
        place = f"{error.filename or 'a file'}: {error.strerror}; choose another place"
        return _said(program, place, ConfigError.exit_code)
    except KeyboardInterrupt:
        return _said(program, "interrupted; what was written is kept", INTERRUPTED)
    except Exception as error:
        if (sentence := explained(error)) is None:
            raise
        return _said(program, sentence, ResourceError.exit_code)
    return 0


def missing_extra(package: str) -> str:
    """The sentence for a package that is not there."""
    return f"the package \"{package}\" is not installed; install it with: pip install 'fimi[{EXTRA_OF[package]}]'"


def _said(program: str, sentence: str, code: int) -> int:
    print(f"{program}: {sentence}", file=sys.stderr)
    return code
