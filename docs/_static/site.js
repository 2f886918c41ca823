// The gallery's filters, and what screen readers and keyboards miss in the markup of others.
"use strict";

// Cards that lack a chosen property are hidden.
document.addEventListener("DOMContentLoaded", () => {
  const form = document.querySelector(".fa-filters");
  if (!form) return;
  const cards = [...form.parentElement.querySelectorAll(".fa-card")];
  const status = form.querySelector("[role=status]");

  function update() {
    const wanted = [...form.querySelectorAll("input:checked")].map((i) => i.value).filter(Boolean);
    let shown = 0;
    for (const card of cards) {
      const tags = card.dataset.tags.split("|");
      card.hidden = !wanted.every((tag) => tags.includes(tag));
      shown += !card.hidden;
    }
    status.textContent = `${shown} of ${cards.length} functions`;
  }

  form.hidden = false;
  form.addEventListener("change", update);
  update();
});

document.addEventListener("DOMContentLoaded", () => {
  for (const toggle of document.querySelectorAll("summary:has(> .toctree-toggle)")) {
    toggle.setAttribute("aria-label", "Pages of this section");
  }
  for (const reference of document.querySelectorAll(".citation[role=doc-biblioentry]")) {
    reference.setAttribute("role", "listitem"); // which the list around it asks for
  }
  for (const link of document.querySelectorAll(".sphx-glr-thumbcontainer a")) {
    link.setAttribute("aria-label", link.textContent); // which is hidden, under the picture
  }
  for (const formula of document.querySelectorAll("div.math")) {
    if (formula.scrollWidth > formula.clientWidth) formula.tabIndex = 0;
  }
});
