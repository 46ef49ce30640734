"""MetaImage and NRRD, as ITK reads them."""
