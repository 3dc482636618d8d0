"""The shipped profiles by name, and anyone's own by path."""

from __future__ import annotations

from pathlib import Path

from firmware_profiles.schema import Profile
from firmware_profiles.strict import ConfigError, load_toml

FOLDER = Path(__file__).parent


def shipped() -> tuple[str, ...]:
    """Names of the profiles in this folder, sorted."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


def load_profile(name: str | Path) -> Profile:
    """A shipped profile by name, or a file whose path ends in .toml; raises ConfigError."""
    if str(name).endswith(".toml"):
        path = Path(name)
    elif name in shipped():
        path = FOLDER / f"{name}.toml"
    else:
        raise ConfigError(
            f"profile {str(name)!r} is not known; use one of {', '.join(shipped())} or the path of a TOML"
        )
    profile = load_toml(path, Profile)
    if profile.name != path.stem:
        raise ConfigError(f"{path}: name: {profile.name!r} is not the file's name; it must be {path.stem!r}")
    return profile
