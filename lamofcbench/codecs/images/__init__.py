"""What the image and video codecs share: values to integer levels, planes to pages, headers that are checked."""
