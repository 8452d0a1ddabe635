"""How each engine is loaded: files run by the worker in the environment of the engine, never imported."""
