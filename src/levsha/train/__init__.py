"""Training in torch: one loop for every model; a killed training ends with the same bytes."""
