module fopnp/chapter07

go 1.24.0
