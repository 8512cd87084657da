# Record batches as columns: a face for Python only, nothing to cimport.
