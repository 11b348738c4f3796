"""Dynamic convolutional networks on simulated memristor crossbars, composed from plugins.

Importing this package imports nothing else: discovery (`memristor_plugins.registry`) must stay free of torch.
Plugin authors import `memristor_plugins.api`.
"""

__version__ = "0.1.0"
