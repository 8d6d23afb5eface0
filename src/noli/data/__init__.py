"""Reading and writing data sets: layouts, codecs, the pre-flight scan, the embedded photographs."""
