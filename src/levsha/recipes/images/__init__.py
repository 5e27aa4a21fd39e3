"""The recipe images: pictures into classes, by a small convolutional net that fits a chip."""
