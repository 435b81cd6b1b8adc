"""The configs that come with the package."""

from pathlib import Path

PACKAGE = Path(__file__).parent.parent


def shipped_configs() -> list[Path]:
    """The configs that come with the package, installed or not."""
    return [path for folder in (PACKAGE / "configs", PACKAGE.parent / "configs") for path in folder.glob("*.yaml")]
