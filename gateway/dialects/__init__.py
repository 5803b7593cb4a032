"""Other systems' APIs, translated to this one: requests to actions of the services, answers from their reads."""
