// Live updates: what the service announces becomes an event on <body>, on which the parts of a page refresh themselves.
// One stream serves all tabs of a browser, since HTTP/1.1 gives it six connections: a shared worker holds the stream.
(() => {
  const script = document.currentScript.src;
  const stream = new URL(document.body.dataset.stream, location.href).href;
  const NAMES = ["counts", "run", "model"];

  function tell(name) {
    document.body.dispatchEvent(new CustomEvent(name));
  }

  function listen({ name, connected }) {
    if (name) return tell(name);
    const sign = document.getElementById("live");
    if (sign) sign.textContent = connected ? "Live" : "Not connected, trying again";
    if (connected) NAMES.forEach(tell); // what happened before is not repeated by the stream
  }

  function listenAlone() {
    let source = null;
    const follow = () => {
      if (document.hidden) {
        source?.close();
        source = null;
      } else if (!source) {
        source = new EventSource(stream);
        source.onopen = () => listen({ connected: true });
        source.onerror = () => {
          listen({ connected: false });
          if (source.readyState !== EventSource.CLOSED) return;
          source = null; // an answer that is no stream: tried again, as by the shared worker
          setTimeout(follow, 15000);
        };
        for (const name of NAMES) source.addEventListener(name, () => listen({ name }));
      }
    };
    document.addEventListener("visibilitychange", follow);
    follow();
  }

  function listenTogether() {
    const worker = new SharedWorker(new URL(`live-worker.js${new URL(script).search}`, script), "exposr-live");
    const open = () => worker.port.postMessage({ open: stream });
    worker.port.onmessage = (message) => listen(message.data);
    addEventListener("pagehide", () => worker.port.postMessage({ close: true }));
    addEventListener("pageshow", (event) => { if (event.persisted) open(); });
    open();
  }

  if ("SharedWorker" in window) listenTogether();
  else listenAlone();
})();
