"""The engine: arrays, tiles, converters, chips and the layers that run on them."""
