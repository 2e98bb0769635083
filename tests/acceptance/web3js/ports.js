// Preloaded before the client's own examples: they name fixed ports, which are replaced by those of the devnet under
// test (environment variable DEVNET_HTTP_URLS, separated by commas). Nothing else is changed.
const { network } = require("web3js-quorum/example/keys.js");

process.env.DEVNET_HTTP_URLS.split(",").forEach((url, index) => {
  network[`node${index + 1}`].url = url;
});
