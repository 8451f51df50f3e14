"""Does learning on the device help its user? The protocol that measures it, and what else could have been done."""
