/* Search in a site that is opened from a folder.

   A browser starts no worker from a file: address. There the search of the site runs in a hidden frame, which has the
   same two calls. Over http nothing is changed. */
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      frame.title = "search"
      this.ready = new Promise((resolve) => frame.addEventListener("load", resolve))
      frame.srcdoc =
        "<script>receive = postMessage.bind(window); postMessage = (data) => parent.postMessage(data, '*')</" +
        `script><script src="${new URL(url, document.baseURI)}"></` + "script>"
      document.body.append(frame)
      window.addEventListener("message", (event) => {
        if (event.source === frame.contentWindow) {
          this.dispatchEvent(new MessageEvent("message", { data: event.data }))
        }
      })
      this.frame = frame
    }
    postMessage(data) {
      this.ready.then(() => this.frame.contentWindow.receive(data, "*"))
    }
    terminate() {
      this.frame.remove()
    }
  }
}
