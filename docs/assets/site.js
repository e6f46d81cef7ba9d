/* What the theme leaves unnamed, for those who do not see the page: the search, sections, blocks of code, and tables that
   scroll. The theme makes some of them later, so whatever is added is looked at too. */
const number = (selector, name) =>
  document.querySelectorAll(selector).forEach((part, place) => {
    part.removeAttribute("aria-labelledby")
    if (part.getAttribute("aria-label") !== `${name} ${place + 1}`) part.setAttribute("aria-label", `${name} ${place + 1}`)
  })
const label = () => {
  document.querySelector(".md-search")?.setAttribute("aria-label", "Search")
  number(".md-nav[data-md-level]", "Section")
  number(".md-code__nav", "Code")
  document.querySelectorAll(".md-typeset__scrollwrap:not([tabindex])").forEach((wrap) => {
    wrap.tabIndex = 0
    wrap.setAttribute("role", "group")
    wrap.setAttribute("aria-label", "Table")
  })
}
label()
new MutationObserver(label).observe(document.body, { childList: true, subtree: true })
