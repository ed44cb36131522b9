for(const table of document.querySelectorAll("table.sortable"))for(const head of table.tHead.rows[0].cells)head.addEventListener("click",()=>{
const up=head.getAttribute("aria-sort")!=="ascending",at=head.cellIndex,body=table.tBodies[0];
for(const other of table.tHead.rows[0].cells)other.removeAttribute("aria-sort");
head.setAttribute("aria-sort",up?"ascending":"descending");
const rows=[...body.rows].sort((a,b)=>a.cells[at].textContent.localeCompare(b.cells[at].textContent,undefined,{numeric:true}));
body.append(...(up?rows:rows.reverse()))});
