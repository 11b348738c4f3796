"""The data sets: images in memory as uint8, prepared in whole batches on the training device."""

from memristor_plugins.datamodules.base import ImageDataModule
from memristor_plugins.datamodules.cifar10 import CIFAR10
from memristor_plugins.datamodules.digits import Digits
from memristor_plugins.datamodules.images import Images, Splits

__all__ = ["CIFAR10", "Digits", "ImageDataModule", "Images", "Splits"]
