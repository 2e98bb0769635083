"""The JSON-RPC methods of an emulated node."""
