"""Maps the repository's folders to import names; everything else about the package is in pyproject.toml."""

from setuptools import find_packages, setup

# Import name -> folder. Sub-packages below each folder are found, so a new one needs no line here.
FOLDERS = {
    "ebm_tracker": "ebm_tracker",
    "ebm_tracker.ltr_settings": "ltr_settings",
    "ebm_tracker.parameters": "parameters",
    "ebm_tracker.train_settings": "train_settings",
    "ebm_tracker.evaluation": "evaluation",
}

setup(
    package_dir=FOLDERS,
    packages=[
        ".".join(filter(None, (name, sub)))
        for name, folder in FOLDERS.items()
        for sub in ("", *find_packages(folder))
    ],
)
