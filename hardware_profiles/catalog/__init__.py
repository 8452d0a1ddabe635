"""What ships with trimfit about devices: a folder for each, in it a JSON for each runtime that was profiled there.

Or one `published.json`: figures that others measured, and no profile. Beside them, as typed tables, from which share
of zeros on sparse kernels are modelled to pay on a core, and which engines have such kernels.
"""

from hardware_profiles.catalog.catalog import (
    CATALOG,
    PUBLISHED,
    catalog_names,
    catalog_profiles,
    catalog_published,
    is_published,
)
from hardware_profiles.catalog.core_families import CORE_FAMILIES, CoreFamily, core_family
from hardware_profiles.catalog.sparse_engines import SPARSE_ENGINES, SparseEngine
from hardware_profiles.catalog.unverified_zeros import UnverifiedZeros, unverified_zeros

__all__ = [
    "CATALOG",
    "CORE_FAMILIES",
    "PUBLISHED",
    "SPARSE_ENGINES",
    "CoreFamily",
    "SparseEngine",
    "UnverifiedZeros",
    "catalog_names",
    "catalog_profiles",
    "catalog_published",
    "core_family",
    "is_published",
    "unverified_zeros",
]
