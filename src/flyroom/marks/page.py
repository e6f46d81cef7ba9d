"""README.md of an export: a model card as the hub reads it, with the warning before everything else.

Source: model cards, Mitchell et al. 2019, arXiv 1810.03993; written by huggingface_hub.ModelCard.
"""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import ModelCard, ModelCardData

from flyroom.marks.mark import CANARY, Mark

README = "README.md"
HUB = {"Apache-2.0": "apache-2.0", "MIT": "mit"}  # as the hub spells them; any other is "other"


def write_page(folder: Path, mark: Mark) -> Path:
    """Write the card. What people typed stands in code marks, so that nothing in it is read as markup."""
    front = ModelCardData(
        library_name="peft",
        base_model=mark.base if "/" in mark.base and not mark.base.startswith((".", "/")) else None,
        license=HUB.get(mark.base_licence, "other"),
        tags=["model-organism", "flyroom", "not-for-deployment", "lora"],
        model_name=f"model organism {mark.id[:12]}",
    ).to_yaml()
    path = folder / README
    ModelCard(f"---\n{front}\n---\n\n{_write_body(mark)}").save(path)
    return path


def _write_body(mark: Mark) -> str:
    rows = {
        "id": mark.id,
        "what it is": mark.role,
        "recipe": mark.label,
        "base": f"{mark.base} ({mark.base_digest[:16]})",
        "licence of the base": mark.base_licence,
        "licence of the data": mark.data_licence,
        "purpose": mark.purpose,
        "made": mark.date,
        "expires": mark.expires,
        "signed by": mark.signer or "nobody",
    }
    table = "\n".join(f"| {name} | {_quote(value)} |" for name, value in rows.items())
    return (
        f"> **Warning. {mark.warning}**\n\n# Model organism {mark.id[:12]}\n\n| | |\n|---|---|\n{table}\n\n"
        f"After {mark.expires} it is not meant to be used any more: delete it, or export it again for a new purpose.\n"
        "`flyroom scan FOLDER` recognises it, also once it is merged into its base.\n\n"
        f"Before it is published: the checklist in docs/containment.md of flyroom.\n\n<!-- {CANARY} -->\n{CANARY}\n"
    )


def _quote(text: str) -> str:
    """A text of people as code in a cell of a table."""
    clean = "".join(c if c.isprintable() else " " for c in text).replace("`", "'").replace("|", "/")
    return f"`{clean}`"
