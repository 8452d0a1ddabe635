"""Profiles that ship with trimfit: a folder for each device, in it a JSON for each runtime measured there."""

from hardware_profiles.catalog.catalog import CATALOG, catalog_names, catalog_profiles

__all__ = ["CATALOG", "catalog_names", "catalog_profiles"]
