/** The certificate of servers that are measured over TLS. */
export const tls = {
  certFile: new URL("../test/support/tls/cert.pem", import.meta.url).pathname,
  keyFile: new URL("../test/support/tls/key.pem", import.meta.url).pathname,
};
