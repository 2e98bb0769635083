"""Between a node and its enclave: history bundles are judged, everything else passes through."""
