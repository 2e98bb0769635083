"""What holds accounts' keys outside of this process: Web3Signer, PKCS#11 tokens, and installed packages."""
