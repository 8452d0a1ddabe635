"""Deployment: the folder that the main job leaves behind."""

from optimizer.deployment.folder import Deployment

__all__ = ["Deployment"]
