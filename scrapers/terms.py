"""What each source's terms restrict, in one line for the log, `doctor` and the README. docs/sources.md has the rest."""

from __future__ import annotations

TERMS: dict[str, str] = {
    "unsplash": (
        "Unsplash's API guidelines ask not to mine data or train AI models with it; its licence restricts AI use and"
        " points to unsplash.com/data. Collect only with permission."
    ),
    "pexels": (
        "Pexels' terms forbid building data sets and training or evaluating models from its API without its explicit"
        " permission. Collect only with that permission."
    ),
    "civitai": (
        "CivitAI allows automated access only through its API with your own key, for personal, non-commercial use;"
        " uploaders keep their rights, and no licence for use elsewhere is granted clearly."
    ),
    "openverse": (
        "Openverse lists openly licensed pictures: credit the author as each item's licence (CC0, PDM, BY, BY-SA) asks;"
        " systematic copying of its catalogue is forbidden, targeted queries are not."
    ),
    "wikimedia": (
        "Wikimedia Commons' photographs may be used by anyone: credit the author as each file's licence (CC0, public"
        " domain, BY, BY-SA) asks; its servers want a contact and one request at a time."
    ),
    "wikimedia_ai": (
        "Wikimedia Commons' generated pictures are mostly in the public domain, each with its own licence; its servers"
        " want a contact and one request at a time."
    ),
    "hf": (
        "Datasets of the Hugging Face hub have each their own licence, and some must not be used for training or in a"
        " product: read the dataset's card before you name it."
    ),
    "folder": "What lies in your own folders: that you may use it is for you to know.",
}
